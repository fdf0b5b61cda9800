"""The space of a search of hyper-parameters, and what its values change.

A space maps a parameter to its choices, a list, or to its range, ``{low, high, log}``. Parameters are the fields of
:class:`recipes.Recipe`, ``batch_size``, ``weighting`` and, as ``model.<key>``, the model's own settings.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Space = Mapping[str, Any]

OF_MODEL = "model."
"""What the names of the model's own settings begin with."""


@dataclass(frozen=True)
class Change:
    """What the values of a trial change.

    Attributes:
        recipe: fields of the recipe.
        settings: settings of the model.
        scenario: parts of the scenario, i.e. its weighting.
        training: settings of the training, i.e. its batch size.
    """

    recipe: Mapping[str, Any]
    settings: Mapping[str, Any]
    scenario: Mapping[str, Any]
    training: Mapping[str, Any]


def change(values: Mapping[str, Any]) -> Change:
    """Sort the values of a trial, parameter → value, by what they change."""
    scenario, training = (
        {key: values[key] for key in (part,) if key in values} for part in ("weighting", "batch_size")
    )
    settings = {key.removeprefix(OF_MODEL): value for key, value in values.items() if key.startswith(OF_MODEL)}
    recipe = {
        key: value for key, value in values.items() if not key.startswith(OF_MODEL) and key not in scenario | training
    }
    return Change(recipe, settings, scenario, training)


def inside(space: Space, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``values`` that the space holds."""
    held = {}
    for key, given in space.items():
        value = values[key]
        if value in given if isinstance(given, list) else given["low"] <= value <= given["high"]:
            held[key] = value
    return held
