"""The space of a search of hyper-parameters: checked before anything runs, and what its values change.

A space maps a parameter to its choices, a list, or to its range, ``{low, high, log}``. Parameters are the fields of
:class:`recipes.Recipe`, ``batch_size``, ``weighting`` and, as ``model.<key>``, the model's own settings.
"""

import os
from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any, NamedTuple

from cerraseg.config.recipes import check_accumulate, check_heads
from cerraseg.config.scenario import BASELINE, RELEASED, Scenario
from cerraseg.config.schema import schema_errors, typed
from cerraseg.config.suggestions import check_known
from cerraseg.core.errors import ConfigError

Space = Mapping[str, Any]

OF_MODEL = "model."
"""Prefix of the parameters that are the model's own settings."""

_NUMBERS: dict[str, type] = {"integer": int, "number": float}


class Change(NamedTuple):
    """What the values of a trial change: fields of the recipe, and settings of model, scenario and training."""

    recipe: dict[str, Any]
    settings: dict[str, Any]
    scenario: dict[str, Any]
    training: dict[str, Any]


def change(values: Mapping[str, Any]) -> Change:
    """Sort the values of a trial, parameter → value, by what they change."""
    found = Change({}, {}, {}, {})
    for key, value in values.items():
        part = {"weighting": found.scenario, "batch_size": found.training}.get(key, found.recipe)
        part = found.settings if key.startswith(OF_MODEL) else part
        part[key.removeprefix(OF_MODEL)] = value
    return found


def inside(space: Space, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of ``values`` that the space holds; a setting that is left to the model's library has none."""
    return {key: values[key] for key, given in space.items() if key in values and _holds(given, values[key])}


def _holds(given: Any, value: Any) -> bool:
    return value in given if isinstance(given, list) else bool(given["low"] <= value <= given["high"])


def check_tune(config: Mapping[str, Any], scenarios: Iterable[Scenario], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Check and complete the section ``tune`` of a complete configuration; without a scenario, return it as it is."""
    tune = dict(config["tune"])
    if not tune["scenario"]:
        return tune
    by_id = {scenario.id: scenario for scenario in scenarios}
    check_known("tune.scenario", id_ := tune["scenario"], by_id)
    scenario = by_id[id_]
    if scenario.recipe in (RELEASED, BASELINE) or id_ in config["checkpoints"]:
        why = "is a baseline" if scenario.recipe == BASELINE else "takes a checkpoint and is not trained"
        raise ConfigError(
            f"tune.scenario: {id_} {why}, so that nothing can be searched; expected another scenario, that is trained"
        )
    known = _parameters(scenario.model, schema["properties"])
    if not tune["space"]:
        raise ConfigError(f"tune.space: empty; expected one parameter or more of: {', '.join(known)}")
    for key in tune["space"]:
        check_known("tune.space", key, known)
    tune["space"] = {key: _checked(key, given, known[key]) for key, given in tune["space"].items()}
    for key in ("batch_size", "crops"):
        for batch in choices if isinstance(choices := tune["space"].get(key), list) else ():
            check_accumulate(f"tune.space.{key}", batch, config["training"]["accumulate"])
    if scenario.model == "transnuseg":
        own = config["transnuseg"]
        pairs = (tune["space"].get(OF_MODEL + key, [own[key]]) for key in ("embed_dim", "heads"))
        for embed_dim, heads in product(*pairs):
            check_heads(embed_dim, heads)
    if tune["storage"]:
        expand_url(tune["storage"])
    return tune


def storage_of(config: Mapping[str, Any]) -> str:
    """Return the URL of the study in a complete configuration, or that of a file in the results."""
    return str(config["tune"]["storage"] or f"sqlite:///{config['results']}/tune/study.db")


def expand_url(url: str) -> str:
    """Fill environment variables (``$NAME``) into the URL, in the process that opens it, as they hold passwords."""
    filled = os.path.expandvars(url)
    if "://" not in filled:
        raise ConfigError(
            f"tune.storage: {url}: not a URL; expected one such as sqlite:///study.db, "
            "journal:////mnt/share/study.log or postgresql://user:$PASSWORD@host/database"
        )
    if "$" in filled:
        raise ConfigError(f"tune.storage: {url}: an environment variable is not set; export it, or write a $ as %24")
    return filled


def _parameters(model: str, schema: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return every parameter that can be searched → the schema of its values."""
    recipe = schema["recipes"]["additionalProperties"]["properties"]
    settings = schema.get(model, schema["models"]["additionalProperties"])["properties"]
    return {
        **{key: part for key, part in recipe.items() if key != "from"},
        "batch_size": schema["training"]["properties"]["batch_size"],
        "weighting": schema["scenarios"]["properties"]["weightings"]["items"],
        **{OF_MODEL + key: part for key, part in settings.items() if key != "pretrained"},
    }


def _checked(key: str, given: Any, part: Mapping[str, Any]) -> Any:
    where, kind = f"tune.space.{key}", _NUMBERS.get(part.get("type", ""))
    if isinstance(given, list):
        return [_fitting(f"{where}.{place}", choice, part) for place, choice in enumerate(given)]
    if not kind or key.startswith(OF_MODEL):
        raise ConfigError(f"{where}: {dict(given)} is a range; expected a list of choices: [...]")
    low, high = (_fitting(f"{where}.{end}", given[end], part) for end in ("low", "high"))
    if low >= high:
        raise ConfigError(f"{where}: low {low} is not below high {high}; exchange them, or give a list of choices")
    if given.get("log") and low <= 0:
        raise ConfigError(f"{where}: log is true, but low is {low}; expected low above 0, or log: false")
    return {"low": low, "high": high, "log": given.get("log", False)}


def _fitting(where: str, value: Any, part: Mapping[str, Any]) -> Any:
    """Check a value against its schema and return it in the schema's type."""
    value = typed(value, part)
    if faults := schema_errors(value, part, where):
        raise ConfigError(faults[0])
    kind = part.get("type", "")
    return _NUMBERS[kind](value) if kind in _NUMBERS else value
