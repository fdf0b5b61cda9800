"""Vectorise a class map: small areas go to their largest neighbour, then each area becomes one polygon.

The map is held in memory, and GDAL holds all outlines at once; what is made of them passes in batches. A map of
10,980 x 10,980 pixels took 1.3 GB with 26,000 polygons of at least 1 ha, and 2.7 GB with 3.3 million of any size.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from math import ceil, isfinite, sqrt
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
from rasterio.errors import RasterioError
from rasterio.features import shapes, sieve
from rasterio.warp import transform as reproject

from cerraseg.core.errors import ConfigError, DataError
from cerraseg.core.logs import log
from cerraseg.core.taxonomy import LandCover
from cerraseg.geo import rasters
from cerraseg.geo.cog import CHUNK, NO_DATA, new_map
from cerraseg.geo.positions import equal_area_around
from cerraseg.mapping.geopackage import write_geopackage

_BATCH = 2000  # polygons at a time
_LONGEST_EDGE = 1000.0  # metres: the arc of a straight edge in another projection then moves no area by 1e-4

Raster = npt.NDArray[np.uint8]
Polygons = npt.NDArray[np.object_]
Floats = npt.NDArray[np.float64]


class _Map(NamedTuple):
    """One band uint8 (H, W) and where it lies."""

    values: Raster
    crs: Any
    transform: Any
    tags: dict[str, str]


class _EqualArea(NamedTuple):
    """Areas on the ground: a Lambert azimuthal equal-area projection centred on the map, and a pixel there."""

    source: Any
    projection: Any
    hectares_of_pixel: float
    longest_edge: float

    def hectares(self, polygons: Polygons) -> Floats:
        """Area of each polygon in the map's CRS."""
        dense = shapely.segmentize(polygons, self.longest_edge)
        area: Floats = shapely.area(shapely.transform(dense, self._project)) / 1e4
        return area

    def _project(self, points: Floats) -> Floats:
        return np.column_stack(reproject(self.source, self.projection, points[:, 0], points[:, 1]))


def polygons(
    class_map: Path,
    classes: Sequence[LandCover],
    *,
    minimum_hectares: float,
    raster: Path,
    vector: Path,
    confidence: Path | None,
) -> None:
    """Write a class map without areas below the minimum mapping unit, as a raster and as polygons.

    An area is a set of pixels of one class that touch at their sides. An area of fewer than ceil(``minimum_hectares`` /
    hectares of a pixel at the map's centre) pixels takes the class of its largest neighbour (GDAL's sieve), repeatedly
    until nothing changes. No data (255) stays as it is.

    Args:
        class_map: raster of class ids, uint8.
        classes: its legend.
        minimum_hectares: minimum mapping unit, 0 or more.
        raster: class map to write, see :func:`cerraseg.geo.cog.new_map`, with the tags of ``class_map`` and
            ``MINIMUM_HECTARES``.
        vector: GeoPackage to write. Its layer ``land_cover`` holds one valid polygon per area of ``raster``, in the
            map's CRS, with ``class_id``, ``class_name``, ``hectares`` on the ellipsoid and, with ``confidence``, the
            mean ``confidence`` over its pixels. Areas that are still below the unit (islands in no data) are left out
            and counted in the log.
        confidence: raster of the confidence in percent on the same grid, uint8.

    Raises:
        ConfigError: for a negative unit.
        DataError: for rasters that cannot be read, hold other values or have no CRS, and for a confidence on another
            grid or without data where the map has some.
    """
    if not isfinite(minimum_hectares) or minimum_hectares < 0:
        raise ConfigError(f"minimum_hectares is {minimum_hectares}, expected 0 or more; correct it.")
    source = _read(class_map, len(classes) - 1)
    if not source.crs:
        raise DataError(f"{class_map} has no coordinate reference system; expected one: georeference the map.")
    ground = _equal_area(source)
    least = max(1, ceil(minimum_hectares / ground.hectares_of_pixel - 1e-6))
    sums = None if confidence is None else _sums_along_rows(source, confidence)
    sieved = source._replace(
        values=_sieve(source.values, least), tags=source.tags | {"MINIMUM_HECTARES": f"{minimum_hectares:g}"}
    )
    moved = np.count_nonzero(sieved.values != source.values)
    log.info("%s: %d pixels of areas below %d pixels went to a neighbour", class_map, moved, least)
    del source
    _write_raster(sieved, classes, raster)
    batches = _batches(sieved, classes, ground, least, sums)
    write_geopackage(vector, batches, crs=sieved.crs, classes=classes)


def _read(path: Path, largest: int) -> _Map:
    try:
        with rasters.open_raster(path) as file:
            if file.count != 1 or file.dtypes[0] != "uint8":
                raise DataError(f"{path} has {file.count} bands of {file.dtypes[0]}; expected one of uint8: map again.")
            found = _Map(file.read(1), file.crs, file.transform, file.tags())
    except RasterioError as error:
        raise DataError(f"{path} cannot be read ({error}); expected a GeoTIFF: map the scene again.") from error
    # One byte further on, 255 wraps round to 0: the largest value shows whether all are in range.
    last = int((found.values + np.uint8(1)).max()) - 1
    if last > largest:
        raise DataError(
            f"{path} holds the value {last}; expected 0 to {largest}, or {NO_DATA} for no data: "
            "give the level that it was mapped at."
        )
    return found


def _equal_area(source: _Map) -> _EqualArea:
    height, width = source.values.shape
    row, column = height // 2, width // 2
    pixel = _placed(np.array([shapely.box(column, row, column + 1, row + 1)]), source.transform)
    centre = shapely.get_coordinates(shapely.centroid(pixel))
    (east,), (north,) = reproject(source.crs, rasters.WGS84, *centre.T)
    projection = equal_area_around(east, north)
    hectares = float(_EqualArea(source.crs, projection, 1, np.inf).hectares(pixel)[0])
    side = sqrt(shapely.area(pixel[0]) / (hectares * 1e4))  # units of the CRS a metre
    return _EqualArea(source.crs, projection, hectares, side * _LONGEST_EDGE)


def _placed(polygons: Polygons, transform: Any) -> Polygons:
    """From pixel coordinates (column, row) to the map's."""
    a, b, c, d, e, f = transform[:6]
    matrix, corner = np.array([[a, d], [b, e]]), np.array([c, f])
    placed: Polygons = shapely.transform(polygons, lambda points: points @ matrix + corner)
    return placed


def _sieve(values: Raster, least: int) -> Raster:
    valid = values != NO_DATA
    while least < values.size:  # else no area is a neighbour large enough, and rasterio refuses
        sieved: Raster = sieve(values, least, mask=valid, connectivity=4)
        if np.array_equal(sieved, values):
            break
        values = sieved
    return values


def _write_raster(source: _Map, classes: Sequence[LandCover], target: Path) -> None:
    shape = source.values.shape
    georeference = {"shape": shape, "crs": source.crs, "transform": source.transform}
    with new_map(target, **georeference, classes=classes, tags=source.tags) as draft:
        for row, column in np.ndindex(-(-shape[0] // CHUNK), -(-shape[1] // CHUNK)):
            chunk = source.values[row * CHUNK : (row + 1) * CHUNK, column * CHUNK : (column + 1) * CHUNK]
            if (chunk != NO_DATA).any():
                draft.write(row, column, chunk)


def _batches(
    source: _Map, classes: Sequence[LandCover], ground: _EqualArea, least: int, sums: npt.NDArray[np.uint32] | None
) -> Iterator[tuple[Polygons, dict[str, npt.NDArray[Any]]]]:
    """Yield polygons in the map's CRS and their fields; the first batch comes even where there is no polygon."""
    found = shapes(source.values, mask=source.values != NO_DATA, connectivity=4)
    written = left_out = lost = 0
    names = np.array([entry.name for entry in classes], object)
    while (batch := [_outline(*area) for area in islice(found, _BATCH)]) or not written + left_out:
        outlines, values = np.array(batch, object).reshape(-1, 2).T
        size = shapely.area(outlines)
        kept = size >= least
        outlines, ids = outlines[kept], values[kept].astype(np.int32)
        written, left_out, lost = written + len(ids), left_out + int((~kept).sum()), lost + int(size[~kept].sum())
        placed = _placed(outlines, source.transform)
        fields = {"class_id": ids, "class_name": names[ids], "hectares": ground.hectares(placed).round(6)}
        if sums is not None:
            fields["confidence"] = (_sums_inside(outlines, sums) / size[kept]).round(2)
        yield placed, fields
        if not batch:
            break
    log.info("%d polygons of at least %d pixels", written, least)
    if left_out:
        log.info("%d areas of fewer pixels, islands in no data of %d pixels in all, left out", left_out, lost)


def _outline(area: dict[str, Any], value: float) -> tuple[shapely.Polygon, float]:
    shell, *holes = area["coordinates"]
    return shapely.Polygon(shell, holes), value


def _sums_along_rows(source: _Map, confidence: Path) -> npt.NDArray[np.uint32]:
    """(H, W + 1): the sum of the confidence of all pixels to the west in the same row."""
    other = _read(confidence, 100)
    if (other.crs, other.transform, other.values.shape) != (source.crs, source.transform, source.values.shape):
        raise DataError(
            f"{confidence} lies on another grid than its class map; expected the same: map the scene again."
        )
    missing = np.count_nonzero((other.values == NO_DATA) & (source.values != NO_DATA))
    if missing:
        raise DataError(
            f"{confidence} has no data on {missing} pixels that have a class; expected a value for each: "
            "map the scene again."
        )
    height, width = other.values.shape
    other.values[other.values == NO_DATA] = 0
    sums = np.zeros((height, width + 1), np.uint32)
    for line, total in zip(other.values, sums, strict=True):
        np.cumsum(line, dtype=np.uint32, out=total[1:])
    return sums


def _sums_inside(polygons: Polygons, sums: npt.NDArray[np.uint32]) -> Floats:
    """Sum the pixels inside each polygon whose corners lie on pixel corners, from sums along rows (Green's theorem)."""
    rings, owner = shapely.get_rings(polygons, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    column, row = points.astype(np.int64).T
    rise = np.diff(row)
    edge = np.flatnonzero((ring[1:] == ring[:-1]) & (rise != 0))
    length = np.abs(rise[edge])
    step = np.repeat(edge, length)  # one a pixel of height
    below = np.arange(len(step)) - np.repeat(np.cumsum(length) - length, length)
    west = sums[np.minimum(row[step], row[step + 1]) + below, column[step]].astype(np.int64)
    of_ring = np.abs(np.bincount(ring[step], np.sign(rise[step]) * west, len(rings)))
    hole = np.diff(owner, prepend=-1) == 0
    return np.bincount(owner, np.where(hole, -of_ring, of_ring), len(polygons)).astype(np.float64)
