"""Labels of an area on a pixel grid: a raster of class ids, or polygons and points of any vector format."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from cerraseg.config.dataset import Level
from cerraseg.core.errors import DataError
from cerraseg.core.logs import log
from cerraseg.core.taxonomy import IGNORE
from cerraseg.data.vector_labels import Features, read_features
from cerraseg.geo import rasters


class PixelGrid(Protocol):
    """The pixels that labels are brought to."""

    @property
    def crs(self) -> Any:
        """Coordinate reference system, of rasterio."""

    @property
    def transform(self) -> Any:
        """Affine transform."""

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""


class Labels(Protocol):
    """Open labels of one level."""

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Return positions in the legend, (H, W): 255 without a label; of a raster, 254 for values of no class."""

    def features(self, window: Window) -> list[int]:
        """Return the ids, in their file, of the polygons and points that label pixels of the window."""

    def read_both(self, window: Window) -> tuple[NDArray[np.uint8], list[int]]:
        """Return what :meth:`read` and :meth:`features` return, at the cost of one of them."""


@contextmanager
def open_labels(entry: Mapping[str, Any], level: Level, grid: PixelGrid) -> Iterator[Labels]:
    """Open the labels of a level of an area, see :mod:`cerraseg.config.areas`.

    On leaving, pixels that lie in polygons of several classes, and so have no label, are counted in the log.

    Raises:
        DataError: if the file cannot be read or placed, or has values that stand for no class of the level.
    """
    if entry["field"] is None:
        with _open_raster(entry["file"], grid) as band:
            yield RasterLabels(band, level, entry["classes"])
        return
    labels = VectorLabels(read_features(entry, level, grid), grid)
    with rasterio.Env():  # else each window sets one up
        yield labels
    if labels.contested:
        log.warning(
            "labels %s: %d pixels lie in polygons of different classes and count as unlabelled (those of overlapping "
            "windows count each time)",
            entry["file"],
            labels.contested,
        )


class RasterLabels:
    """Labels of a raster, open on the grid."""

    def __init__(self, band: Any, level: Level, classes: Mapping[str, int]) -> None:
        self._band, self._level = band, level
        self._classes = {float(value): id_ for value, id_ in classes.items()}

    def values(self, window: Window) -> np.ma.MaskedArray[Any, Any]:
        """Read the values of the file (H, W), masked where it has none."""
        try:
            return self._band.read(1, window=window, masked=True)
        except RasterioError as error:
            raise DataError(f"{self._band.name} is damaged ({error}); fetch or write the file again") from None

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Return positions in the legend, see :class:`Labels`."""
        values = self.values(window)
        ids = self._ids(values.data) if self._classes else values.data
        positions = self._level.positions(ids)
        positions[np.ma.getmaskarray(values)] = IGNORE
        return positions

    def features(self, window: Window) -> list[int]:
        """Return nothing: a raster has none."""
        return []

    def read_both(self, window: Window) -> tuple[NDArray[np.uint8], list[int]]:
        """Return positions and no features."""
        return self.read(window), []

    def _ids(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Turn values into class ids as the entry gives them, all others into one that no class has."""
        ids = np.full(values.shape, -1, np.int64)
        for value, id_ in self._classes.items():
            ids[values == value] = id_
        return ids


class VectorLabels:
    """Labels of polygons and points."""

    def __init__(self, features: Features, grid: PixelGrid) -> None:
        self._features, self._grid = features, grid
        self.contested = 0  # pixels read so far that lie in polygons of different classes

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Return positions in the legend, see :class:`Labels`."""
        return self.read_both(window)[0]

    def features(self, window: Window) -> list[int]:
        """Return the ids of the features that label pixels of the window."""
        return self.read_both(window)[1]

    def read_both(self, window: Window) -> tuple[NDArray[np.uint8], list[int]]:
        """Return positions (H, W) and the ids of the features that have pixels there."""
        burnt = self._features.burn(
            rasterio.windows.transform(window, self._grid.transform), (window.height, window.width)
        )
        self.contested += burnt.contested
        return burnt.positions, self._features.ids[burnt.members].tolist()


@contextmanager
def _open_raster(path: str, grid: PixelGrid) -> Iterator[Any]:
    """Open a raster of one band on a grid, each pixel with the nearest value, masked where the file has none."""
    with ExitStack() as stack:
        stack.enter_context(rasterio.Env(**rasters.OFFLINE))
        try:
            source = stack.enter_context(rasters.open_raster(path, rasters.driver_of(Path(path))))
            _check_raster(path, source)
            alpha = ColorInterp.alpha in source.colorinterp
            target = {"crs": grid.crs, "transform": grid.transform, "height": grid.shape[0], "width": grid.shape[1]}
            band = stack.enter_context(
                WarpedVRT(
                    source, **target, resampling=Resampling.nearest, add_alpha=source.nodata is None and not alpha
                )
            )
        except RasterioError as error:
            raise DataError(
                f"labels {path}: cannot be read ({error}); expected a raster of class ids, or field for polygons"
            ) from None
        yield band


def _check_raster(path: str, source: Any) -> None:
    bands = sum(kind != ColorInterp.alpha for kind in source.colorinterp)
    if bands != 1 or "complex" in source.dtypes[0]:
        raise DataError(f"labels {path}: {bands} bands of {source.dtypes[0]}; expected one of class ids: choose a band")
    if source.crs is None or not rasters.is_sound(source.transform) or source.transform.is_identity:
        raise DataError(
            f"labels {path}: the coordinate reference system is {source.crs}, the transform {source.transform[:6]}; "
            "expected a georeferenced raster: assign both, e.g. with rio edit-info"
        )
