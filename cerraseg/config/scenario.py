"""A scenario: model, data and recipe of one experiment, and its id."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from cerraseg.config.dataset import Dataset
from cerraseg.core.errors import ConfigError

BASELINES = ("pixel", "gaussian")
"""Models that classify each pixel from its surroundings; they have the recipe :data:`BASELINE`, and no other has."""

MODEL_TITLES = {
    "unet": "U-Net",
    "fullres": "Full-resolution U-Net",
    "transnuseg": "TransNuSeg",
    "pixel": "Pixel-wise network",
    "gaussian": "Gaussian maximum likelihood",
}
"""Built-in model → its name in cards and pages."""

BASELINE = "baseline"

AXES: dict[str, tuple[str, ...]] = {
    "model": (*BASELINES, "unet", "fullres", "transnuseg"),
    "modality": (),
    "weighting": ("nw", "w", "sqrt", "effective", "logit", "focal", "rare"),
    "level": (),
    "recipe": ("paper", "tuned", "released", BASELINE),
}
"""Axis → its built-in values, in the order of a scenario's id. A configuration may add models and recipes; modalities
and levels are those of the dataset: see :func:`known_names`."""

PLURALS = dict(zip(AXES, ("models", "modalities", "weightings", "levels", "recipes"), strict=True))
"""Axis → the key of its values in a configuration."""

RELEASED = "released"
"""Recipe of a scenario that is not trained: it takes the checkpoint that the data set's authors released."""

ENSEMBLE = "ensemble"
"""Recipe of a scenario that averages others; its model is the ensemble's name."""

PUBLISHED_MODELS = ("unet", "transnuseg")
PUBLISHED_WEIGHTINGS = ("nw", "w")
"""Of the published and the released trainings."""


@dataclass(frozen=True)
class Scenario:
    """One experiment: model × modality × weighting × level × recipe × seed; ``fold``: of a cross-validation, from 1."""

    model: str
    modality: str
    weighting: str
    level: str
    recipe: str
    seed: int
    fold: int = 0

    @property
    def id(self) -> str:
        """Return the name in every path, such as ``unet-concat-nw-l1-paper-666``, a fold's with ``/fold1``."""
        name = f"{self.model}-{self.modality}-{self.weighting}-{self.level}-{self.recipe}-{self.seed}"
        return f"{name}/fold{self.fold}" if self.fold else name

    @property
    def edges(self) -> bool:
        """Tell whether the model predicts the edges between classes beside the classes."""
        return self.model == "transnuseg"


def known_names(
    dataset: Dataset, models: Collection[str] = (), recipes: Collection[str] = ()
) -> dict[str, Collection[str]]:
    """Return what is known beside the built-in values of each axis: the dataset's, and custom models and recipes."""
    return {"model": models, "recipe": recipes, "modality": dataset.modalities, "level": tuple(dataset.levels)}


def parse(name: str, named: Mapping[str, Collection[str]]) -> Scenario:
    """Read a scenario from its id, or raise :class:`ConfigError`; ``named`` is what :func:`known_names` returns."""
    form = "-".join(AXES) + "-seed"
    *parts, seed = name.split("-")
    if len(parts) != len(AXES) or not re.fullmatch("[0-9]{1,10}", seed):
        raise ConfigError(f"scenario {name!r}: expected the form {form}, such as unet-concat-nw-l1-paper-666")
    known = {axis: (*values, *named.get(axis, ())) for axis, values in AXES.items()}
    for (axis, values), part in zip(known.items(), parts, strict=True):
        if part not in values:
            raise ConfigError(f"scenario {name!r}: {axis} {part!r} is unknown; allowed: {', '.join(values)}")
    model, modality, weighting, level, recipe = parts
    return Scenario(model, modality, weighting, level, recipe, int(seed))


def expand(
    crossed: Mapping[str, Sequence[str]],
    seeds: Iterable[int],
    extra: Iterable[str],
    named: Mapping[str, Collection[str]],
) -> list[Scenario]:
    """Cross the axes' value lists (keyed by axis) and the seeds, then add the scenarios in ``extra``, each once.

    A released checkpoint has no seed of ours: its scenario is taken once, with seed 0. ``named`` as in :func:`parse`.
    """
    names = ("-".join(map(str, values)) for values in product(*(crossed[axis] for axis in AXES), seeds))
    found = (parse(name, named) for name in [*names, *extra])
    return list(dict.fromkeys(replace(one, seed=0) if one.recipe == RELEASED else one for one in found))


def with_baselines(scenarios: Sequence[Scenario], models: Iterable[str], seeds: Sequence[int]) -> list[Scenario]:
    """Add these models as baselines of each modality and level of the scenarios, with the first of the seeds."""
    seed = [*seeds, scenarios[0].seed][0]
    added = (Scenario(model, one.modality, "nw", one.level, BASELINE, seed) for model in models for one in scenarios)
    return list(dict.fromkeys([*scenarios, *added]))
