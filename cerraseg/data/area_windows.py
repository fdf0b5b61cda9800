"""Patches that are windows of an area's rasters: nothing is cut to files."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from rasterio.windows import Window

from cerraseg.config.dataset import Dataset
from cerraseg.config.entries import area_layers, labelled_levels
from cerraseg.core.errors import DataError
from cerraseg.core.taxonomy import IGNORE
from cerraseg.data.labels import Labels, open_labels
from cerraseg.data.masks import derive_edges, roll_up
from cerraseg.data.patch_files import Patch, checksum, place_of
from cerraseg.geo.grids import Grid
from cerraseg.geo.images import Image, ImageFiles, open_image


@dataclass(frozen=True)
class Area:
    """An open area: its images on the grid of its first sensor, and its labels."""

    dataset: Dataset
    images: Sequence[Image]
    labels: Mapping[str, Labels]  # level → labels, of the levels that have their own
    made_from: Mapping[str, str]  # level → the level whose labels it is made from

    @property
    def grid(self) -> Grid:
        """The grid of all that is read."""
        return self.images[0].grid

    def read(self, row: int, column: int) -> Patch:
        """Read the patch whose upper left pixel is at this row and column of the grid.

        Raises:
            DataError: if a file is damaged there, or labels are no classes.
        """
        size = self.dataset.patch_size
        window = Window(column, row, size, size)
        image = np.concatenate([image.read(window)[0] for image in self.images])
        gaps = np.isnan(image).any(0)
        read = {level: labels(window) for level, labels in self.labels.items()}
        masks = [
            read[source][0] if source == level else roll_up(read[source][0], self.dataset.ancestors(source)[level])
            for level, source in self.made_from.items()
        ]
        classes = np.stack(masks)
        content = checksum([image, classes])
        polygons = {polygon for _, shown in read.values() for polygon in shown}
        classes[:, gaps] = IGNORE
        edges = derive_edges(classes)
        here = Grid(self.grid.crs, self.grid.transform * self.grid.transform.translation(column, row), (size, size))
        return Patch(image, classes, edges, content, place_of(here), tuple(sorted(polygons)))


@contextmanager
def open_area(
    entry: Mapping[str, Any], dataset: Dataset, sensors: Sequence[str], levels: Sequence[str]
) -> Iterator[Area]:
    """Open an area of the configuration (see :mod:`cerraseg.config.areas`) for these sensors and levels.

    Raises:
        DataError: if an image or the labels cannot be used.
    """
    made_from = labelled_levels(entry["labels"], dataset)
    with ExitStack() as stack:
        images: list[Image] = []
        for sensor in sensors:
            files, bands = ImageFiles.of(entry["images"][sensor]), dataset.sensors[sensor].bands
            grid = images[0].grid if images else None
            images.append(stack.enter_context(open_image(files, bands, f"area {entry['name']}: {sensor}", grid=grid)))
        labels = {
            level: stack.enter_context(open_labels(entry["labels"][level], dataset.levels[level], images[0].grid))
            for level in entry["labels"]
        }
        yield Area(dataset, images, labels, {level: made_from[level] for level in levels})


def area_rows(
    areas: Mapping[str, Mapping[str, Any]], dataset: Dataset, stride: int
) -> tuple[list[dict[str, Any]], list[str], list[str]]:
    """Return a row for each window of the areas, sorted by id, and the sensors and levels that all areas have.

    Windows are square, lie wholly inside an image and begin at multiples of the stride. What is left over at the right
    and at the bottom, less than a stride, is in none: a last row moved back would overlap the one before it, and
    windows that overlap must stay in one part.

    Raises:
        DataError: if an area cannot be opened or is smaller than a patch, or they have no sensor and level in common.
    """
    layers = area_layers(areas.values(), dataset)
    sensors, levels = ([name for name in part if name in layers] for part in (dataset.sensors, dataset.levels))
    if not sensors or not levels:
        raise DataError("areas: they have no sensor or no level in common; expected one of each in every area")
    rows, size = [], dataset.patch_size
    for name, entry in areas.items():
        with open_area(entry, dataset, sensors, levels) as area:
            height, width = area.grid.shape
        if min(height, width) < size:
            raise DataError(
                f"area {name}: {height} x {width} pixels hold no window of {size} x {size}; expected a larger image: "
                "take another one, or a smaller patch_size"
            )
        paths = {sensor: str(entry["images"][sensor]["files"][0]) for sensor in sensors}
        made_from = labelled_levels(entry["labels"], dataset)
        paths |= {level: str(entry["labels"][made_from[level]]["file"]) for level in levels}
        for row, column in product(range(0, height - size + 1, stride), range(0, width - size + 1, stride)):
            place = {"area": name, "window_row": row, "window_column": column}
            rows.append({"id": f"{name}-{row:06}-{column:06}", **place, **paths})
    return sorted(rows, key=lambda row: row["id"]), sensors, levels
