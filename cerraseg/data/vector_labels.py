"""Polygons and points with classes: read from any vector format, brought to a grid, burnt window by window."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyogrio
import rasterio.warp
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import MergeAlg
from rasterio.errors import CRSError
from rasterio.features import rasterize
from rasterio.transform import array_bounds

from cerraseg.config.dataset import Level
from cerraseg.config.suggestions import nearest
from cerraseg.core.errors import DataError
from cerraseg.core.logs import log
from cerraseg.core.taxonomy import IGNORE
from cerraseg.geo import rasters

_KINDS = [
    shapely.GeometryType.POINT,
    shapely.GeometryType.MULTIPOINT,
    shapely.GeometryType.POLYGON,
    shapely.GeometryType.MULTIPOLYGON,
]
_LARGE = 500  # vertices, from which cutting a polygon to the window is faster than handing all of it to GDAL
_MOST_LISTED = 20  # unknown values in a message


@dataclass(frozen=True)
class Burnt:
    """The labels of a window."""

    positions: NDArray[np.uint8]  # in the legend, (H, W), 255 without a label
    members: NDArray[np.int64]  # numbers of the features that have pixels there
    contested: int  # pixels in polygons of different classes, which have no label


@dataclass(frozen=True)
class Features:
    """Polygons and points on a grid's plane, and the class of each."""

    shapes: NDArray[np.object_]  # shapely, (N,)
    ids: NDArray[np.int64]  # of the features in their file, (N,)
    positions: NDArray[np.uint8]  # in the legend, (N,)

    @cached_property
    def tree(self) -> shapely.STRtree:
        """The shapes by place."""
        return shapely.STRtree(self.shapes)

    @cached_property
    def _cut(self) -> NDArray[np.bool_]:
        """Which shapes are cut to the window: large ones, if they are valid, as GEOS cuts no others."""
        large = (shapely.get_num_coordinates(self.shapes) >= _LARGE) & (shapely.get_dimensions(self.shapes) == 2)
        large[large] = shapely.is_valid(self.shapes[large])
        return large

    def burn(self, transform: Any, shape: tuple[int, int]) -> Burnt:
        """Label the pixels of a window whose centres lie in a polygon, and those that hold a point.

        Args:
            transform: of the window's pixels.
            shape: (height, width) of the window.
        """
        members, shapes = self._near(transform, shape)
        if not members.size:
            return Burnt(np.full(shape, IGNORE, np.uint8), members, 0)
        options: dict[str, Any] = {"out_shape": shape, "transform": transform, "fill": 0, "dtype": "int32"}
        owners = rasterize(zip(shapes, range(1, len(shapes) + 1), strict=True), **options)
        if len(shapes) == 1 or rasterize(shapes, merge_alg=MergeAlg.add, **options).max() <= 1:
            table = np.concatenate([[np.uint8(IGNORE)], self.positions[members]])
            return Burnt(table[owners], members[np.unique(owners[owners > 0]) - 1], 0)
        return self._burn_each(members, shapes, options)

    def _burn_each(self, members: NDArray[np.int64], shapes: NDArray[np.object_], options: Mapping[str, Any]) -> Burnt:
        positions = np.full(options["out_shape"], IGNORE, np.uint8)
        contested = np.zeros(options["out_shape"], bool)
        present = []
        for member, shape in zip(members, shapes, strict=True):
            inside = rasterize([shape], **options) > 0
            contested |= inside & (positions != IGNORE) & (positions != self.positions[member])
            positions[inside] = self.positions[member]
            if inside.any():
                present.append(member)
        positions[contested] = IGNORE
        return Burnt(positions, np.array(present, np.int64), int(contested.sum()))

    def _near(self, transform: Any, shape: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
        """Return the numbers of the features around a window, and their shapes, large ones cut to it."""
        height, width = shape
        corners = [
            transform * corner for corner in ((-1, -1), (width + 1, -1), (width + 1, height + 1), (-1, height + 1))
        ]
        area = shapely.Polygon(corners)
        members = np.sort(self.tree.query(area))
        shapes = self.shapes[members]
        cut = self._cut[members]
        if cut.any():
            shapes[cut] = shapely.clip_by_rect(shapes[cut], *area.bounds)
            filled = ~shapely.is_empty(shapes)
            members, shapes = members[filled], shapes[filled]
        return members, shapes


def read_features(entry: Mapping[str, Any], level: Level, grid: Any) -> Features:
    """Read the polygons and points of an area's labels onto the plane of its grid.

    Features without a value, or with one that stands for no label, are left out; the former are counted in the log.

    Args:
        entry: file, layer (None: the first), field, and classes (value → id; empty: the field has ids, names or
            abbreviations).
        level: that the classes belong to.
        grid: object with crs, transform and shape.

    Raises:
        DataError: if the file cannot be read, lies elsewhere, or has unknown values or other geometries.
    """
    path, field = entry["file"], entry["field"]
    shapes, ids, values, crs = _read(path, entry["layer"], field, grid)
    there = ~shapely.is_missing(shapes)
    if odd := np.count_nonzero(~np.isin(shapely.get_type_id(shapes[there]), _KINDS)):
        raise DataError(f"labels {path}: {odd} features are no polygons or points; expected such alone: take them out")
    codes, found = pd.factorize(values)
    texts = [_text(value) for value in found]
    codes = np.array([*(-1 if text == "" else place for place, text in enumerate(texts)), -1])[codes]
    table = _table(level, entry["classes"])
    counts = np.bincount(codes[there & (codes >= 0)], minlength=len(texts))
    unknown = {text: int(count) for text, count in zip(texts, counts, strict=True) if count and text not in table}
    if unknown:
        raise DataError(_about_unknown(path, field, unknown, level, bool(entry["classes"])))
    if without := np.count_nonzero(there & (codes < 0)):
        log.warning("labels %s: %d of %d features have no %s and label nothing", path, without, len(codes), field)
    positions = np.array([*(table.get(text, IGNORE) for text in texts), IGNORE], np.uint8)[codes]
    shapes[there] = _onto(shapes[there], crs, grid)
    used = there & (positions != IGNORE) & np.isfinite(shapely.bounds(shapes)).all(axis=1)
    features = Features(shapes[used], ids[used], positions[used])
    if not features.tree.query(shapely.box(*array_bounds(*grid.shape, grid.transform))).size:
        raise DataError(
            f"labels {path}: none of its {len(shapes)} features near the image has a class and lies on it; expected "
            "labels of the image's ground: correct the path, the layer or the georeference"
        )
    return features


def _read(path: str, layer: str | None, field: str, grid: Any) -> tuple[Any, Any, Any, CRS]:
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
        options = {"layer": layer, "columns": [field], "bbox": _bounds(grid, crs), "return_fids": True}
        _, ids, geometry, (values,) = pyogrio.raw.read(path, **options)
        return shapely.force_2d(shapely.from_wkb(geometry)), ids, values, crs
    except CRSError as error:
        raise DataError(
            f"labels {path}: no usable coordinate reference system ({error}); expected a georeferenced layer: assign "
            "it, e.g. in QGIS under Layer > Set CRS, and save"
        ) from None
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, shapely.GEOSException) as error:
        raise DataError(f"labels {path}: cannot be read ({error}); expected polygons or points") from None


def _bounds(grid: Any, crs: CRS) -> tuple[float, float, float, float] | None:
    """Return the grid's bounds in another system with a margin; None, for everything, across the antimeridian."""
    bounds = array_bounds(*grid.shape, grid.transform)
    try:
        left, bottom, right, top = rasterio.warp.transform_bounds(grid.crs, crs, *bounds)
    except Exception:  # rasterio has no public name for the errors of PROJ
        return None
    if not np.isfinite([left, bottom, right, top]).all() or left > right:
        return None
    if crs.is_geographic and (left < -180 or right > 180):
        return None
    across, up = (right - left) / 100, (top - bottom) / 100
    return left - across, bottom - up, right + across, top + up


def _onto(shapes: NDArray[np.object_], crs: CRS, grid: Any) -> NDArray[np.object_]:
    """Bring shapes to the grid's system; on degrees across the antimeridian, to the longitudes around the grid."""
    left, _, right, _ = array_bounds(*grid.shape, grid.transform)
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
    if classes:
        return {value: ids[id_] for value, id_ in classes.items()}
    named = {text: ids[entry.id] for entry in level.classes for text in (entry.name, entry.abbreviation)}
    return named | {str(id_): position for id_, position in ids.items()}


def _text(value: Any) -> str:
    """Return a value as it stands in a description; whole numbers of a field with decimals have none."""
    return str(int(value)) if isinstance(value, float | np.floating) and value.is_integer() else str(value).strip()


def _about_unknown(path: str, field: str, unknown: Mapping[str, int], level: Level, mapped: bool) -> str:
    often = sorted(unknown.items(), key=lambda item: (-item[1], item[0]))
    listed = ", ".join(f"{value!r} ({count})" for value, count in often[:_MOST_LISTED])
    more = f" and {len(often) - _MOST_LISTED} more" if len(often) > _MOST_LISTED else ""
    expected = "those under classes" if mapped else f"ids, names or abbreviations of level {level.name}"
    ids = ", ".join(f"{entry.id} {entry.name}" for entry in level.classes)
    return (
        f"labels {path}: the field {field} has values (with their number of features) that stand for no class: "
        f"{listed}{more}; expected {expected} ({ids}): give each its id under classes of the area, such as "
        f"classes: {{{often[0][0]}: {level.ids[0]}}}, or {IGNORE} for no label"
    )
