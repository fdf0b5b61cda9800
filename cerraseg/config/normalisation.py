"""How a model's bands are normalised: a recipe's fields and the statistics of bands become numbers."""

import json
import math
from collections.abc import Callable, Mapping
from functools import cache

from cerraseg.config.recipes import Recipe
from cerraseg.core.errors import ConfigError, DataError
from cerraseg.core.layout import SOURCE

Statistics = Mapping[str, float]  # of a band: min, max, mean and std

FORMULAS: dict[str, Callable[[Statistics], tuple[float, float]]] = {
    "0to1": lambda band: (band["min"], band["max"] - band["min"] or 1.0),
    "1to1": lambda band: (math.log(band["mean"]), math.log(band["std"])),
    "zscore": lambda band: (band["mean"], band["std"] or 1.0),
}
"""Name → function from a band's statistics to what is subtracted (in ``1to1``, from logarithms) and then divides."""


def constants(recipe: Recipe, bands: Mapping[str, Statistics]) -> list[tuple[float, float]]:
    """Return what ``FORMULAS`` give for the model's ``bands``, with statistics of training; nothing for raw input."""
    if recipe.normalise == "none":
        return []
    if recipe.normalise_by == "published":
        bands = {name: published_bands()[name] for name in bands}
    for name, band in bands.items():
        if recipe.normalise == "1to1" and (band["mean"] <= 0 or band["std"] <= 1):
            raise DataError(
                f"{name}: mean {band['mean']:g} and deviation {band['std']:g} in training, whose logarithms normalise: "
                "1to1 divides by; expected above 0 and 1, as of reflectance x 10,000: take zscore or 0to1"
            )
    return [FORMULAS[recipe.normalise](band) for band in bands.values()]


@cache
def published_bands() -> dict[str, dict[str, float]]:
    """Return band → its published min, max, mean and std, in the units of CerraData-4MM."""
    sensors = json.loads((SOURCE / "reference/band_statistics.json").read_text(encoding="utf-8")).values()
    return {b: {key: of[key][k] for key in of if key != "bands"} for of in sensors for k, b in enumerate(of["bands"])}


def check_normalisation(name: str, recipe: Recipe, bands: tuple[str, ...]) -> None:
    """Raise :class:`ConfigError` where the recipe ``name`` has published statistics that not all ``bands`` have."""
    if recipe.normalise_by == "published" and (unknown := [one for one in bands if one not in published_bands()]):
        raise ConfigError(
            f"recipes.{name}.normalise_by: published, which {', '.join(unknown)} are not; expected bands of "
            f"CerraData-4MM, {', '.join(published_bands())}: set it to training"
        )
