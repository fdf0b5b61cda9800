"""Groups of patches that a split keeps together: blocks, cells of ground of one size, and sites."""

import hashlib

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.warp import transform

from cerraseg.data.splits.distances import connected
from cerraseg.geo.positions import Floats, Ints, Places, utm_zone
from cerraseg.geo.rasters import WGS84

Names = NDArray[np.str_]


def blocks(places: Places, block_km: float) -> Names:
    """Return the block that holds each patch's centre, as ``EPSG:32723/45/-12``: system, column and row of the cell, (N,).

    Cells are squares of ``block_km`` km in the patch's own system where that is metric, else in its UTM zone.
    """
    systems, x, y = _metric_centres(places)
    column, row = (np.floor(axis / (1000 * block_km)).astype(np.int64) for axis in (x, y))
    cells = zip(systems.tolist(), column.tolist(), row.tolist(), strict=True)
    return np.array([f"{system}/{column}/{row}" for system, column, row in cells])


def _metric_centres(places: Places) -> tuple[Names, Floats, Floats]:
    """A metric coordinate system for each patch, and its centre's coordinates there in m."""
    left, bottom, right, top = places.bounds.T
    x, y = (left + right) / 2, (bottom + top) / 2
    short = {crs: crs if len(crs) < 20 else "crs" + hashlib.sha256(crs.encode()).hexdigest()[:8] for crs in places.crs}
    zones = utm_zone(places.degrees)
    for zone in np.unique(zones[~places.metric]).tolist():
        rows = ~places.metric & (zones == zone)
        x[rows], y[rows] = transform(WGS84, CRS.from_epsg(zone), *places.degrees[rows].T)
    pairs = zip(places.metric.tolist(), places.crs.tolist(), zones.tolist(), strict=True)
    return np.array([short[crs] if metric else f"EPSG:{zone}" for metric, crs, zone in pairs]), x, y


def outline(block: str) -> tuple[str, Ints]:
    """Return the coordinate system of a block of :func:`blocks`, and the columns and rows of its corners in blocks, (4, 2)."""
    system, column, row = block.rsplit("/", 2)
    corner = np.array([int(column), int(row)])
    return system, corner + np.array([[0, 0], [1, 0], [1, 1], [0, 1]])


def sites(places: Places, gap_km: float) -> Names:
    """Return the site of each patch, ``site 1`` onwards in the order of their first patches, (N,).

    Two patches are of one site if the gap between them is at most ``gap_km`` km, and so are all that further such pairs connect.
    """
    numbers = np.unique(connected(places, 1000 * gap_km), return_inverse=True)[1]
    return np.array([f"site {number + 1}" for number in numbers.tolist()])
