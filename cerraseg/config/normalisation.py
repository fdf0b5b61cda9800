"""How a model's bands are normalised: a recipe's fields and statistics of bands become numbers."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache

from cerraseg.config.dataset import Dataset
from cerraseg.config.recipes import Recipe
from cerraseg.config.scenario import Scenario
from cerraseg.core.errors import ConfigError, DataError
from cerraseg.core.layout import SOURCE

Statistics = Mapping[str, float]  # of a band: min, max, mean and std

CLIPPED, LOGARITHMIC = ("0to1", "1to1"), ("1to1",)
"""Normalisations of values that are raised to ``LOWEST``, and those of the logarithms of these."""

LOWEST = 1e-6

FORMULAS: dict[str, Callable[[Statistics], tuple[float, float]]] = {
    "0to1": lambda band: (band["min"], band["max"] - band["min"] or 1.0),
    "1to1": lambda band: (math.log(band["mean"]), math.log(band["std"])),
    "zscore": lambda band: (band["mean"], band["std"] or 1.0),
}
"""Name → function from a band's statistics to what is subtracted and what then divides."""


def constants(recipe: Recipe, bands: Mapping[str, Statistics]) -> list[tuple[float, float]]:
    """Return what is subtracted from each band, then divides it; nothing where the recipe has no normalisation.

    ``bands`` are the model's bands with the statistics of the training part.
    """
    if recipe.normalise == "none":
        return []
    of = bands if recipe.normalise_by == "training" else published_bands()
    for name in bands if recipe.normalise in LOGARITHMIC else ():
        if of[name]["mean"] <= 0 or of[name]["std"] <= 1:
            raise DataError(
                f"{name}: mean {of[name]['mean']:g} and deviation {of[name]['std']:g} in training, which normalise: "
                f"{recipe.normalise} takes the logarithms of; expected above 0 and 1, as of reflectance x 10,000: set "
                "normalise to zscore or 0to1"
            )
    return [FORMULAS[recipe.normalise](of[name]) for name in bands]


@cache
def published_bands() -> dict[str, dict[str, float]]:
    """Return band → its published min, max, mean and std, in the units of CerraData-4MM."""
    sensors = json.loads((SOURCE / "reference/band_statistics.json").read_text(encoding="utf-8")).values()
    names = ("min", "max", "mean", "std")
    return {band: {name: of[name][k] for name in names} for of in sensors for k, band in enumerate(of["bands"])}


def check_normalisation(scenario: Scenario, recipe: Recipe, dataset: Dataset) -> None:
    """Raise :class:`ConfigError` where a recipe normalises by published statistics that a band does not have."""
    unknown: Sequence[str] = [band for band in dataset.bands(scenario.modality) if band not in published_bands()]
    if recipe.normalise != "none" and recipe.normalise_by == "published" and unknown:
        raise ConfigError(
            f"recipes.{scenario.recipe}.normalise_by: published, which {', '.join(unknown)} ({scenario.id}) are not; "
            f"expected bands of CerraData-4MM, {', '.join(published_bands())}: set it to training"
        )
