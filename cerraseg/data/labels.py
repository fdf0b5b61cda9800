"""Labels of an area on a pixel grid: a raster of class ids, or polygons and points of any vector format."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from cerraseg.config.dataset import UNKNOWN, Level
from cerraseg.core.errors import LegendError
from cerraseg.core.logs import log
from cerraseg.core.taxonomy import IGNORE
from cerraseg.data.vector_labels import Features, read_features
from cerraseg.geo.grids import Grid
from cerraseg.geo.images import Mask, open_mask


class Labels(Protocol):
    """Open labels of one level."""

    def read(self, window: Window) -> tuple[NDArray[np.uint8], list[int]]:
        """Read a window.

        Returns:
            Positions in the legend (H, W), 255 without a label; and the ids, in their file, of the polygons and points
            that label pixels there.
        """


@contextmanager
def open_labels(entry: Mapping[str, Any], level: Level, grid: Grid) -> Iterator[Labels]:
    """Open the labels of a level of an area, see :mod:`cerraseg.config.areas`.

    On leaving, pixels that lie in polygons of several classes, and so have no label, are counted in the log.

    Raises:
        DataError: if the file cannot be read or placed, or has values that stand for no class of the level.
    """
    if entry["field"] is None:
        with open_mask(Path(entry["file"]), f"labels of {level.name}", grid=grid) as mask:
            yield RasterLabels(mask, level, entry)
        return
    labels = VectorLabels(_features(json.dumps(entry), level, grid), grid)
    with rasterio.Env():  # else each window sets one up
        yield labels
    if labels.contested:
        log.warning(
            "labels %s: %d pixels lie in polygons of different classes and count as unlabelled (those of overlapping "
            "windows count each time)",
            entry["file"],
            labels.contested,
        )


@lru_cache(maxsize=8)
def _features(entry: str, level: Level, grid: Grid) -> Features:
    """Read the features of an entry, as JSON, once a process."""
    return read_features(json.loads(entry), level, grid)


class RasterLabels:
    """Labels of a raster, open on the grid."""

    def __init__(self, mask: Mask, level: Level, entry: Mapping[str, Any]) -> None:
        self._mask, self._level, self._file = mask, level, entry["file"]
        self._classes = {float(value): id_ for value, id_ in entry["classes"].items()}

    def read(self, window: Window) -> tuple[NDArray[np.uint8], list[int]]:
        """Read a window, see :class:`Labels`; a raster has no polygons."""
        values, valid = self._mask.read(window)
        ids = values
        if self._classes:
            ids = np.full(values.shape, -1, np.int64)
            for value, id_ in self._classes.items():
                ids[values == value] = id_
        positions = self._level.positions(ids)
        positions[~valid] = IGNORE
        if (foreign := positions == UNKNOWN).any():
            where, known = f"labels {self._file}", self._classes or self._level.ids
            ignored = (*self._level.ignore, IGNORE)
            raise LegendError.of(where, self._level.name, known, ignored, values[foreign], values[valid])
        return positions, []


class VectorLabels:
    """Labels of polygons and points."""

    def __init__(self, features: Features, grid: Grid) -> None:
        self._features, self._grid = features, grid
        self.contested = 0  # pixels read so far that lie in polygons of different classes

    def read(self, window: Window) -> tuple[NDArray[np.uint8], list[int]]:
        """Read a window, see :class:`Labels`."""
        burnt = self._features.burn(
            rasterio.windows.transform(window, self._grid.transform), (window.height, window.width)
        )
        self.contested += burnt.contested
        return burnt.positions, self._features.ids[burnt.members].tolist()
