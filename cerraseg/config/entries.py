"""What checked areas and scenes hold, in the form of :mod:`cerraseg.config.areas`; without what checks them."""

from collections.abc import Iterable, Mapping
from typing import Any

from cerraseg.config.dataset import Dataset


def labelled_levels(labels: Iterable[str], dataset: Dataset) -> dict[str, str]:
    """Return level → the level whose labels it is made from: its own, else those of the next finer one below it."""
    given = [level for level in dataset.levels if level in labels]
    made = {
        level: next((source for source in given if level in (source, *dataset.ancestors(source))), None)
        for level in dataset.levels
    }
    return {level: source for level, source in made.items() if source is not None}


def area_layers(areas: Iterable[Mapping[str, Any]], dataset: Dataset) -> set[str]:
    """Return the sensors and levels that every area has."""
    return set.intersection(*({*area["images"], *labelled_levels(area["labels"], dataset)} for area in areas))


def files_of(entry: Mapping[str, Any]) -> list[str]:
    """Return the files (and folders, such as a .SAFE) that a checked area or scene reads."""
    return [*image_files(entry), *(labels["file"] for labels in entry["labels"].values())]


def image_files(entry: Mapping[str, Any]) -> list[str]:
    """Return the files of images of a checked area or scene, with those of their masks."""
    images = entry["images"].values()
    masks = [image["mask"]["file"] for image in images if image["mask"]]
    return [*(file for image in images for file in image["files"]), *masks]
