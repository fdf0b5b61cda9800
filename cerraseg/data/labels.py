"""Labels of an area on a pixel grid: a raster of class ids, or polygons and points of any vector format."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import rasterio.warp
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.features import rasterize
from rasterio.windows import Window
from shapely import GeometryType

from cerraseg.config.dataset import Level
from cerraseg.config.suggestions import nearest
from cerraseg.core.errors import DataError
from cerraseg.core.logs import log
from cerraseg.core.taxonomy import IGNORE
from cerraseg.data.masks import Mask, read_positions
from cerraseg.geo import rasters
from cerraseg.geo.grids import Grid, bounds_in
from cerraseg.geo.images import open_mask

Labels = Callable[[Window], tuple[Mask, list[int]]]
"""Window → positions in the legend (H, W), 255 without a label, and the ids, in their file, of the polygons and points
that label pixels there."""

_KINDS = (GeometryType.POINT, GeometryType.MULTIPOINT, GeometryType.POLYGON, GeometryType.MULTIPOLYGON)
_MOST_LISTED = 20  # unknown values in a message


@contextmanager
def open_labels(entry: Mapping[str, Any], level: Level, grid: Grid) -> Iterator[Labels]:
    """Open the labels of a level of an area, see :mod:`cerraseg.config.areas`.

    On leaving, pixels that lie in polygons of several classes, and so have no label, are counted in the log.

    Raises:
        DataError: if the file cannot be read or placed, or has values that stand for no class of the level.
    """
    file = entry["file"]
    if entry["field"] is None:
        ids = {float(value): id_ for value, id_ in entry["classes"].items()}
        with open_mask(Path(file), f"labels of {level.name}", grid=grid) as mask:
            yield lambda window: (read_positions(mask, level, f"labels {file}", window, ids)[1], [])
        return
    features, contested = _features(json.dumps(entry), level, grid), 0

    def read(window: Window) -> tuple[Mask, list[int]]:
        nonlocal contested
        transform = rasterio.windows.transform(window, grid.transform)
        positions, shown, several = features.burn(transform, (window.height, window.width))
        contested += several
        return positions, shown

    with rasterio.Env():  # else each window sets one up
        yield read
    if contested:
        told = "%d pixels lie in polygons of different classes and count as unlabelled (in each window that shows them)"
        log.warning(f"labels %s: {told}", file, contested)


@lru_cache(maxsize=8)
def _features(entry: str, level: Level, grid: Grid) -> "Features":
    """Read the features of an entry, as JSON, once a process."""
    return read_features(json.loads(entry), level, grid)


@dataclass(frozen=True)
class Features:
    """Polygons and points on a grid's plane, and the class of each."""

    tree: shapely.STRtree  # of the N shapes
    ids: NDArray[np.int64]  # in their file, (N,)
    positions: Mask  # in the legend, (N,)

    def burn(self, transform: Any, shape: tuple[int, int]) -> tuple[Mask, list[int], int]:
        """Label the pixels of a window whose centres lie in a polygon, and those that hold a point.

        Args:
            transform: of the window's pixels.
            shape: (height, width) of the window.

        Returns:
            Positions in the legend (H, W), 255 without a label; ids of the features that have pixels there; and how
            many pixels lie in polygons of different classes, which have no label.
        """
        height, width = shape
        corners = ((-1, -1), (width + 1, -1), (width + 1, height + 1), (-1, height + 1))
        members = np.sort(self.tree.query(shapely.Polygon([transform * corner for corner in corners])))
        if not members.size:
            return np.full(shape, IGNORE, np.uint8), [], 0
        shapes, classes = self.tree.geometries[members], self.positions[members]
        options: dict[str, Any] = {"out_shape": shape, "transform": transform, "fill": 0, "dtype": "int32"}
        positions, contested = np.full(shape, IGNORE, np.uint8), np.zeros(shape, bool)
        for position in np.unique(classes):
            inside = rasterize(shapes[classes == position], **options) > 0
            contested |= inside & (positions != IGNORE)
            positions[inside] = position
        positions[contested] = IGNORE
        # Of shapes that overlap, the last one counts: in the other order, another one.
        numbered = list(zip(shapes, range(1, len(members) + 1), strict=True))
        last, first = (rasterize(order, **options) for order in (numbered, numbered[::-1]))
        shown = np.union1d(last[last > 0], first[first > 0])
        return positions, self.ids[members[shown - 1]].tolist(), int(contested.sum())


def read_features(entry: Mapping[str, Any], level: Level, grid: Grid) -> Features:
    """Read the polygons and points of an area's labels onto the plane of its grid.

    Features without a value, or with one that stands for no label, are left out; the former are counted in the log.

    Args:
        entry: file, layer (None: the first), field, and classes (value → id; empty: the field has ids, names or
            abbreviations).

    Raises:
        DataError: if the file cannot be read, lies elsewhere, or has unknown values or other geometries.
    """
    path, field = entry["file"], entry["field"]
    shapes, ids, values, crs = _read(path, entry["layer"], field, grid)
    if odd := np.count_nonzero(~np.isin(shapely.get_type_id(shapes), _KINDS)):
        raise DataError(f"labels {path}: {odd} features are no polygons or points; expected such alone: take them out")
    texts, table = [_text(value) for value in values.tolist()], _table(level, entry["classes"])
    if unknown := Counter(text for text in texts if text not in table).most_common(_MOST_LISTED):
        listed = ", ".join(f"{value!r} ({count})" for value, count in unknown)
        classes = ", ".join(f"{one.id} {one.name}" for one in level.classes)
        raise DataError(
            f"labels {path}: the field {field} has values (with their number of features) that stand for no class: "
            f"{listed}; expected ids, names or abbreviations of level {level.name} ({classes}), or those under classes "
            f"of the area: give each its id there, such as classes: {{{unknown[0][0]}: {level.ids[0]}}}, or {IGNORE} "
            "for no label"
        )
    if without := texts.count(""):
        log.warning("labels %s: %d of %d features have no %s and label nothing", path, without, len(texts), field)
    positions = np.array([table[text] for text in texts], np.uint8)
    shapes = _onto(shapes, crs, grid)
    used = (positions != IGNORE) & np.isfinite(shapely.bounds(shapes)).all(axis=1)
    features = Features(shapely.STRtree(shapes[used]), ids[used], positions[used])
    if not features.tree.query(shapely.box(*grid.bounds)).size:
        raise DataError(
            f"labels {path}: none of its {len(shapes)} features near the image has a class and lies on it; expected "
            "labels of the image's ground: correct the path, the layer or the georeference"
        )
    return features


def _read(path: str, layer: str | None, field: str, grid: Grid) -> tuple[Any, Any, Any, CRS]:
    """Return shapes, ids, values and coordinate system of the features around a grid."""
    pyogrio.set_gdal_config_options(rasters.OFFLINE)
    try:
        layers = [name for name, _ in pyogrio.list_layers(path)]
        layer = layer or next(iter(layers), "")
        if layer not in layers:
            raise DataError(f"labels {path}: no layer {layer!r}{nearest(layer, layers)}")
        info = pyogrio.read_info(path, layer=layer)
        if field not in info["fields"]:
            raise DataError(f"labels {path}: layer {layer} has no field {field!r}{nearest(field, info['fields'])}")
        crs = CRS.from_user_input(info["crs"] or "")
        options = {"layer": layer, "columns": [field], "bbox": _around(grid, crs), "return_fids": True}
        _, ids, geometry, (values,) = pyogrio.raw.read(path, **options)
        shapes = shapely.force_2d(shapely.from_wkb(geometry))
    except CRSError as error:
        raise DataError(
            f"labels {path}: no usable coordinate reference system ({error}); expected a georeferenced layer: assign "
            "it, e.g. in QGIS under Layer > Set CRS, and save"
        ) from None
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, shapely.GEOSException) as error:
        raise DataError(f"labels {path}: cannot be read ({error}); expected polygons or points") from None
    there = ~shapely.is_missing(shapes)
    return shapes[there], ids[there], values[there], crs


def _around(grid: Grid, crs: CRS) -> tuple[float, float, float, float] | None:
    """Return the grid's bounds in another system with a margin; None, for everything, across the antimeridian."""
    left, bottom, right, top = bounds_in(grid, crs) or (0, 0, -1, 0)
    if left > right or (crs.is_geographic and (left < -180 or right > 180)):
        return None
    across, up = (right - left) / 100, (top - bottom) / 100
    return left - across, bottom - up, right + across, top + up


def _onto(shapes: NDArray[np.object_], crs: CRS, grid: Grid) -> NDArray[np.object_]:
    """Bring shapes to the grid's system; on degrees across the antimeridian, to the longitudes around the grid."""
    left, _, right, _ = grid.bounds
    across = grid.crs.is_geographic and (left < -180 or right > 180)

    def moved(points: NDArray[np.float64]) -> NDArray[np.float64]:
        if crs != grid.crs and len(points):
            points = np.stack(rasterio.warp.transform(crs, grid.crs, *points.T), axis=1)
        if across:
            points = points - [[360, 0]] * np.round((points[:, :1] - (left + right) / 2) / 360)
        return points

    return np.asarray(shapely.transform(shapes, moved))


def _table(level: Level, classes: Mapping[str, int]) -> dict[str, int]:
    """Return value as text → position, 255 for no label."""
    ids = dict(zip(level.ids, range(len(level.ids)), strict=True)) | dict.fromkeys((*level.ignore, IGNORE), IGNORE)
    named = {text: ids[entry.id] for entry in level.classes for text in (entry.name, entry.abbreviation)}
    given = {value: ids[id_] for value, id_ in classes.items()}
    return {"": IGNORE} | (given or named | {str(id_): position for id_, position in ids.items()})


def _text(value: Any) -> str:
    """Return a value as it stands in a description, whole numbers without decimals; empty if it is missing or NaN."""
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
