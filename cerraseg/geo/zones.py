"""An area of interest on the ground: the UTM zones that it lies in, and in each a grid cut into tiles."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from odc.geo.geom import Geometry
from odc.geo.gridspec import GridSpec
from pyproj import Transformer
from rasterio.crs import CRS
from rasterio.features import geometry_mask
from rasterio.transform import Affine
from rasterio.windows import Window
from rasterio.windows import transform as window_transform

from cerraseg.core.errors import DataError
from cerraseg.geo.grids import Grid

_STEP = 0.01  # degrees between the points of an outline: a parallel in UTM then leaves the chord by a few centimetres
_LIMITS = -80.0, 84.0  # degrees north between which UTM is defined


@dataclass(frozen=True)
class Zone:
    """The part of an area of interest in a UTM zone, and the grid that maps it.

    Zones are the plain strips of 6 degrees, north and south of the equator, without the exceptions around Norway.
    """

    epsg: int
    area: Any  # shapely geometry in the zone's system
    grid: Grid  # holds the area with a margin around it
    tiles: Mapping[str, Window]  # name → its part of the grid; they do not overlap

    def tile_grid(self, name: str) -> Grid:
        """Return the grid of a tile."""
        window = self.tiles[name]
        shape = int(window.height), int(window.width)
        return Grid(self.grid.crs, window_transform(window, self.grid.transform), shape)

    def outside(self, window: Window) -> NDArray[np.bool_]:
        """Tell which pixels of a window of the grid, (H, W), have their centre outside the area."""
        shape = int(window.height), int(window.width)
        return np.asarray(geometry_mask([self.area], shape, window_transform(window, self.grid.transform)))


def read_area(path: Path) -> Any:
    """Return the polygons of a vector file as one shapely geometry of longitudes and latitudes.

    Raises:
        DataError: if it cannot be read, has no polygon, other geometries, or no coordinate system.
    """
    try:
        meta, _, shapes, _ = pyogrio.raw.read(path, columns=[])
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise DataError(f"{path} cannot be read ({error}); expected polygons, such as GeoJSON: correct it") from None
    area = shapely.union_all(shapely.make_valid(shapely.from_wkb(shapes)))
    if area.area == 0 or not meta["crs"]:
        raise DataError(f"{path} holds no polygons with a coordinate system; expected the outline of an area")
    degrees = Transformer.from_crs(meta["crs"], 4326, always_xy=True)
    return shapely.transform(area, lambda points: np.column_stack(degrees.transform(*points.T)))


def zones_of(area: Any, *, resolution: float, tile_km: float, margin: int) -> dict[int, Zone]:
    """Cut an area of interest into UTM zones, and the grid of each into tiles.

    Grid and tiles lie on whole multiples of their sides, so that another area of interest in the same place has the
    same tiles; those at the rim are cut to the area with its margin.

    Args:
        area: shapely geometry of longitudes (−180 to 180) and latitudes.
        resolution: side of a pixel in m.
        tile_km: side of a tile in km, which is rounded to whole pixels.
        margin: pixels around the area, which give its rim some context.

    Returns:
        EPSG code → zone, from west to east.

    Raises:
        DataError: if it leaves the latitudes of UTM.
    """
    west, south, east, north = area.bounds
    if south < _LIMITS[0] or north > _LIMITS[1] or west < -180 or east > 180:
        raise DataError(
            f"the area of interest spans {west:.2f} to {east:.2f} degrees east and {south:.2f} to {north:.2f} north; "
            f"expected longitudes within -180 to 180 and latitudes within {_LIMITS[0]:g} to {_LIMITS[1]:g}: cut it"
        )
    parts, side = parts_of(area), max(1, round(1000 * tile_km / resolution))
    return {epsg: _zone(epsg, part, resolution, side, margin) for epsg, part in parts.items()}


def zone_at(*, area: str, epsg: int, grid: Mapping[str, Any], margin: int) -> Zone:
    """Return one zone of an area of interest, given as WKT; ``grid`` has ``resolution`` and ``tile_km``."""
    whole, sides = shapely.from_wkt(area), {key: grid[key] for key in ("resolution", "tile_km")}
    return zones_of(whole, margin=margin, **sides)[epsg]


def parts_of(area: Any) -> dict[int, Any]:
    """Return EPSG code → the part of a geometry of longitudes and latitudes in that UTM zone, from west to east."""
    west, _, east, _ = area.bounds
    parts = {}
    for number in range(floor(west / 6) + 31, min(ceil(east / 6), 30) + 31):
        for epsg, low, high in ((32600 + number, 0, 90), (32700 + number, -90, 0)):
            part = shapely.intersection(area, shapely.box(6 * number - 186, low, 6 * number - 180, high))
            if part.area > 0:
                parts[epsg] = part
    return parts


def footprint(grid: Grid) -> Any:
    """Return the outline of a grid in longitudes and latitudes, as a shapely polygon."""
    box = shapely.segmentize(shapely.box(*grid.bounds), max(grid.bounds[2] - grid.bounds[0], 1) / 8)
    degrees = Transformer.from_crs(grid.crs.to_wkt(), 4326, always_xy=True)
    return shapely.transform(box, lambda points: np.column_stack(degrees.transform(*points.T)))


def _zone(epsg: int, part: Any, resolution: float, side: int, margin: int) -> Zone:
    metres = Transformer.from_crs(4326, epsg, always_xy=True)
    points = shapely.segmentize(part, _STEP)
    area = shapely.make_valid(shapely.transform(points, lambda points: np.column_stack(metres.transform(*points.T))))
    left, bottom, right, top = np.array(area.bounds) / resolution
    first, last = (floor(left) - margin, floor(bottom) - margin), (ceil(right) + margin, ceil(top) + margin)
    crs = CRS.from_epsg(epsg)
    transform = Affine(resolution, 0, first[0] * resolution, 0, -resolution, last[1] * resolution)
    frame = Grid(crs, transform, (last[1] - first[1], last[0] - first[0]))
    tiles = {}
    for (column, row), _ in GridSpec(f"EPSG:{epsg}", (side, side), resolution).tiles_from_geopolygon(
        Geometry(area, f"EPSG:{epsg}")
    ):
        x = max(column * side, first[0]), min((column + 1) * side, last[0])
        y = max(row * side, first[1]), min((row + 1) * side, last[1])
        tiles[f"x{column}y{row}"] = Window(x[0] - first[0], last[1] - y[1], x[1] - x[0], y[1] - y[0])
    return Zone(epsg, area, frame, dict(sorted(tiles.items())))
