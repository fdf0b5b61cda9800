"""Patches that are windows of an area's rasters, cut to no files; and the source that reads either kind of patch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import rasterio
from rasterio.windows import Window

from cerraseg.config.dataset import Dataset
from cerraseg.config.entries import area_layers, labelled_levels
from cerraseg.core.errors import DataError
from cerraseg.core.taxonomy import IGNORE
from cerraseg.data.labels import Labels, open_labels
from cerraseg.data.masks import derive_edges, roll_up
from cerraseg.data.patch_files import Patch, checksum, place_of, read_files
from cerraseg.geo.grids import Grid
from cerraseg.geo.images import Image, ImageFiles, open_image
from cerraseg.geo.rasters import MANY_FILES

CHUNK = 64
"""Patches that a worker reads at a time."""


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
        """Read the patch whose upper left pixel is at this row and column of the grid."""
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
        return Patch(image, classes, edges, content, place_of(here), (), tuple(sorted(polygons)))


@contextmanager
def open_area(
    entry: Mapping[str, Any], dataset: Dataset, sensors: Sequence[str], levels: Sequence[str]
) -> Iterator[Area]:
    """Open an area of the configuration (see :mod:`cerraseg.config.areas`) for these sensors and levels."""
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


@dataclass(frozen=True)
class Source:
    """Where patches are read from; it can be sent to a worker process."""

    dataset: Dataset
    sensors: Sequence[str]
    levels: Sequence[str]
    areas: Mapping[str, Mapping[str, Any]] | None = None  # name → entry; None: patches are files

    def read(self, rows: Sequence[Mapping[str, Any]]) -> Iterator[Patch | DataError]:
        """Yield the patch of each row of the patch table, or what is wrong with it."""
        with rasterio.Env(**MANY_FILES):
            if self.areas is None:
                for row in rows:
                    yield _or_error(read_files, row, self.dataset, self.sensors, self.levels)
                return
            for name in dict.fromkeys(row["area"] for row in rows):  # areas follow one another
                with open_area(self.areas[name], self.dataset, self.sensors, self.levels) as area:
                    for row in (row for row in rows if row["area"] == name):
                        yield _or_error(area.read, row["window_row"], row["window_column"])


def _or_error(read: Callable[..., Patch], *arguments: Any) -> Patch | DataError:
    try:
        return read(*arguments)
    except DataError as error:
        return error
