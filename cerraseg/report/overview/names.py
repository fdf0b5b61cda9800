"""What the parts of a scenario's id mean, for hovers and a legend."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from cerraseg.config.dataset import Dataset
from cerraseg.config.scenario import BASELINE, ENSEMBLE, MODEL_TITLES, RELEASED
from cerraseg.training.weightings import WEIGHTINGS

PARTS = ("model", "modality", "weighting", "level", "recipe", "seed")
"""Parts of a scenario's id, in its order."""

_MODELS = {
    "unet": "encoder and decoder with skip connections",
    "fullres": "small, sees each pixel at full resolution",
    "transnuseg": "transformer that predicts the edges between classes, too",
    "pixel": "classifies each pixel from its close surroundings",
    "gaussian": "classifies each pixel from its close surroundings",
}
_RECIPES = {
    "paper": "the published training, errors included",
    "tuned": "the published training with its errors corrected",
    RELEASED: "the checkpoint that the authors released, not trained here",
    BASELINE: "a simple model that every other one is to beat",
    ENSEMBLE: "the mean of several scenarios",
}
_OURS = "as this run's configuration defines it"


def explain(table: pd.DataFrame, dataset: Dataset) -> dict[str, dict[str, str]]:
    """Explain what the ids in the table of a benchmark are made of: part → value → meaning, for the values there."""
    meanings: dict[str, Callable[[Any], str]] = {
        "model": lambda name: f"{MODEL_TITLES[name]}: {_MODELS[name]}" if name in MODEL_TITLES else _OURS,
        "modality": lambda name: " and ".join(sensor.title for sensor in dataset.sensors_of(name)),
        "weighting": lambda name: f"class weighting: {WEIGHTINGS[name].description}",
        "level": lambda name: f"legend of {len(dataset.classes(name))} classes",
        "recipe": lambda name: _RECIPES.get(name, _OURS),
        "seed": lambda _: "seed of the random numbers of the training",
    }
    values = {part: table[part].drop_duplicates().tolist() for part in PARTS}
    return {part: {str(value): meanings[part](value) for value in values[part]} for part in PARTS}


def split_id(row: "pd.Series[Any]", meanings: Mapping[str, Mapping[str, str]]) -> list[tuple[str, str]]:
    """Split the id of a row of that table into parts, each with its meaning; an id of another form stays whole."""
    parts = [(str(row[part]), meanings[part][str(row[part])]) for part in PARTS]
    return parts if "-".join(value for value, _ in parts) == row["id"] else [(str(row["id"]), "")]
