"""Vectorise a class map: small areas go to their largest neighbour, then each area becomes one polygon.

The map is held in memory, and GDAL holds all outlines at once: 10,980 x 10,980 pixels took 1.3 GB with 26,000 polygons
of at least 1 ha, and 2.7 GB with 3.3 million of any size.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from rasterio.features import shapes, sieve
from rasterio.warp import transform as reproject

from cerraseg.core.logs import log
from cerraseg.core.taxonomy import LandCover, id_table, position_table
from cerraseg.geo import rasters
from cerraseg.geo.cog import NO_DATA
from cerraseg.geo.grids import Grid
from cerraseg.geo.positions import equal_area_around
from cerraseg.mapping.geopackage import write_geopackage
from cerraseg.mapping.map_files import Raster, write_map

_BATCH = 2000  # polygons at a time
_LONGEST_EDGE = 1000.0  # metres: the arc of a straight edge in another projection then moves no area by 1e-4

Polygons = npt.NDArray[np.object_]
Floats = npt.NDArray[np.float64]


class _EqualArea:
    """Areas on the ground: a Lambert azimuthal equal-area projection centred on a map, and a pixel there."""

    def __init__(self, grid: Grid) -> None:
        row, column = grid.shape[0] // 2, grid.shape[1] // 2
        pixel = _placed(np.array([shapely.box(column, row, column + 1, row + 1)]), grid)
        (east,), (north,) = reproject(grid.crs, rasters.WGS84, *shapely.get_coordinates(shapely.centroid(pixel)).T)
        self._source, self._projection, self._longest_edge = grid.crs, equal_area_around(east, north), np.inf
        self.hectares_of_pixel = float(self.hectares(pixel)[0])
        units = sqrt(shapely.area(pixel[0]) / (self.hectares_of_pixel * 1e4))  # of the CRS a metre
        self._longest_edge = units * _LONGEST_EDGE

    def hectares(self, polygons: Polygons) -> Floats:
        """Area of each polygon in the map's CRS."""
        dense = shapely.segmentize(polygons, self._longest_edge)
        area: Floats = shapely.area(shapely.transform(dense, self._project)) / 1e4
        return area

    def _project(self, points: Floats) -> Floats:
        return np.column_stack(reproject(self._source, self._projection, points[:, 0], points[:, 1]))


def polygons(
    class_map: Path,
    classes: Sequence[LandCover],
    *,
    minimum_hectares: float,
    raster: Path,
    vector: Path,
    confidence: Path,
) -> None:
    """Write a class map without areas below the minimum mapping unit, as a raster and as polygons.

    An area is a set of pixels of one class that touch at their sides. An area of fewer than ceil(``minimum_hectares`` /
    hectares of a pixel at the map's centre) pixels takes the class of its largest neighbour (GDAL's sieve), repeatedly
    until nothing changes. No data (255) stays as it is.

    Args:
        class_map: raster of class ids, uint8.
        classes: its legend.
        minimum_hectares: minimum mapping unit, 0 or more.
        raster: class map to write, with the tags of ``class_map`` and ``MINIMUM_HECTARES``.
        vector: GeoPackage to write. Its layer ``land_cover`` holds one valid polygon per area of ``raster``, in the
            map's CRS, with ``class_id``, ``class_name``, ``hectares`` on the ellipsoid and the mean ``confidence`` of
            its pixels. Areas that are still below the unit (islands in no data) are left out.
        confidence: raster of the confidence in percent on the same grid, uint8.
    """
    with rasters.open_raster(class_map) as file:
        values = position_table(classes)[file.read(1)]
        grid, tags = Grid(file.crs, file.transform, file.shape), file.tags()
    ground = _EqualArea(grid)
    least = max(1, ceil(minimum_hectares / ground.hectares_of_pixel - 1e-6))
    sieved = _sieve(values, least)
    moved = np.count_nonzero(sieved != values)
    log.info("%s: %d pixels of areas below %d pixels went to a neighbour", class_map, moved, least)
    del values
    tags["MINIMUM_HECTARES"] = f"{minimum_hectares:g}"
    write_map(raster, grid, lambda window: sieved[window.toslices()], classes=classes, tags=tags)
    batches = _batches(sieved, grid, classes, ground, least, _sums_along_rows(confidence))
    write_geopackage(vector, batches, crs=grid.crs, classes=classes)


def _placed(polygons: Polygons, grid: Grid) -> Polygons:
    placed: Polygons = shapely.transform(polygons, lambda points: np.column_stack(grid.transform * points.T))
    return placed


def _sieve(values: Raster, least: int) -> Raster:
    valid = values != NO_DATA
    while least < values.size:  # else no area is a neighbour large enough, and rasterio refuses
        sieved: Raster = sieve(values, least, mask=valid, connectivity=4)
        if np.array_equal(sieved, values):
            break
        values = sieved
    return values


def _batches(
    values: Raster,
    grid: Grid,
    classes: Sequence[LandCover],
    ground: _EqualArea,
    least: int,
    sums: npt.NDArray[np.uint32],
) -> Iterator[tuple[Polygons, dict[str, npt.NDArray[Any]]]]:
    """Yield polygons in the map's CRS and their fields; the first batch comes even where there is no polygon.

    ``values`` are positions in the legend.
    """
    found = shapes(values, mask=values != NO_DATA, connectivity=4)
    ids, names = id_table(classes).astype(np.int32), np.array([entry.name for entry in classes], object)
    written, left_out = 0, 0
    batch = list(islice(found, _BATCH))
    while True:
        outlines = np.array([shapely.geometry.shape(area) for area, _ in batch], object)
        of_class = np.array([value for _, value in batch], np.int64)
        size = shapely.area(outlines)
        kept = size >= least
        outlines, of_class, size = outlines[kept], of_class[kept], size[kept]
        written, left_out = written + len(size), left_out + int((~kept).sum())
        placed, confidence = _placed(outlines, grid), (_sums_inside(outlines, sums) / size).round(2)
        hectares = ground.hectares(placed).round(6)
        looks = {"class_id": ids[of_class], "class_name": names[of_class]}
        yield placed, {**looks, "hectares": hectares, "confidence": confidence}
        batch = list(islice(found, _BATCH))
        if not batch:
            break
    log.info("%d polygons; %d areas below %d pixels, islands in no data, left out", written, left_out, least)


def _sums_along_rows(raster: Path) -> npt.NDArray[np.uint32]:
    """(H, W + 1): the sum of all pixels to the west in the same row."""
    with rasters.open_raster(raster) as file:
        values = file.read(1)
    sums = np.zeros((values.shape[0], values.shape[1] + 1), np.uint32)
    np.cumsum(values, axis=1, dtype=np.uint32, out=sums[:, 1:])
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
