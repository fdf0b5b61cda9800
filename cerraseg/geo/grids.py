"""The pixel grid of a raster."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rasterio import Affine
from rasterio.crs import CRS
from rasterio.warp import transform_bounds

_ALIKE = 1e-6  # of a pixel: grids that differ less are the same

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True)
class Grid:
    """Pixels on the ground: coordinate reference system, affine transform and (height, width)."""

    crs: Any
    transform: Affine
    shape: tuple[int, int]

    @classmethod
    def of(cls, dataset: Any) -> "Grid":
        """Return the grid of an open raster."""
        return cls(dataset.crs, dataset.transform, dataset.shape)

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> "Grid":
        """Make one of plain values: ``epsg``, ``transform`` (six numbers) and ``shape``."""
        height, width = values["shape"]
        return cls(CRS.from_epsg(values["epsg"]), Affine(*values["transform"]), (height, width))

    def same_as(self, other: "Grid") -> bool:
        """Tell whether both have the same pixels, to a millionth of their size."""
        between = ~other.transform * self.transform
        aligned = between.almost_equals(Affine.identity(), _ALIKE)
        return aligned and (self.shape, self.crs) == (other.shape, other.crs)

    @property
    def bounds(self) -> Bounds:
        """Left, bottom, right and top, also of a turned or south-up grid."""
        height, width = self.shape
        corners = [self.transform * corner for corner in ((0, 0), (width, 0), (0, height), (width, height))]
        x, y = zip(*corners, strict=True)
        return min(x), min(y), max(x), max(y)

    @property
    def turned(self) -> bool:
        """Whether rows do not run from west to east or from east to west."""
        a, b, _, d, e, _ = self.transform[:6]
        return abs(b) > _ALIKE * abs(a) or abs(d) > _ALIKE * abs(e)

    def north_up(self) -> "Grid":
        """Return the grid itself, its mirror image, or of a turned grid one of the same pixel size that holds it."""
        if not self.turned and self.transform.e < 0 < self.transform.a:
            return self
        a, b, _, d, e, _ = self.transform[:6]
        across, down = math.hypot(a, d), math.hypot(b, e)
        left, bottom, right, top = self.bounds
        transform = Affine(across, 0, left, 0, -down, top)
        if not self.turned:
            return Grid(self.crs, transform, self.shape)
        shape = math.ceil((top - bottom) / down - _ALIKE), math.ceil((right - left) / across - _ALIKE)
        return Grid(self.crs, transform, shape)


def turns(source: Grid, target: Grid) -> list[int]:
    """Return by how many turns of 360° to move ``source`` for it to share ground with ``target``; none: there is none.

    180.1° E and 179.9° W are the same place, but GDAL looks for a pixel at one longitude only: without turns, half of
    an image across the antimeridian would be lost. The parts that several turns give fill each other.
    """
    if source.crs.is_geographic and target.crs.is_geographic:
        bounds = bounds_in(source, target.crs)
        return [turn for turn in (0, 1, -1) if bounds and _meet(bounds, target.bounds, 360 * turn)]
    if not (_share_ground(source, target) or _share_ground(target, source)):
        return []
    left, _, right, _ = source.bounds
    across = source.crs.is_geographic and [turn for turn, out in ((1, left < -180), (-1, right > 180)) if out]
    return [0, *(across or [])]


def _share_ground(one: Grid, other: Grid) -> bool:
    """Tell whether grids overlap in the system of the second, if the first lies in its domain."""
    bounds = bounds_in(one, other.crs)
    around = (0, 1, -1) if other.crs.is_geographic else (0,)
    return bounds is not None and any(_meet(bounds, other.bounds, 360 * turn) for turn in around)


def bounds_in(grid: Grid, crs: Any) -> Bounds | None:
    """Return the bounds of a grid in another coordinate system, None outside the domain of that."""
    try:
        bounds = transform_bounds(grid.crs, crs, *grid.bounds)
    except Exception:  # rasterio does not export GDAL's errors
        return None
    return bounds if all(map(math.isfinite, bounds)) else None


def _meet(bounds: Bounds, other: Bounds, east: float) -> bool:
    left, bottom, right, top = bounds
    if right < left:  # across the antimeridian
        right += 360
    return left + east < other[2] and right + east > other[0] and bottom < other[3] and top > other[1]
