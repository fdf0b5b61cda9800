"""Groups of patches that a split keeps together: blocks, cells of ground of one size, and sites."""

import hashlib

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.warp import transform

from cerraseg.data.splits.distances import connected
from cerraseg.geo.positions import Ints, Places, utm_zone
from cerraseg.geo.rasters import WGS84

Names = NDArray[np.str_]


def blocks(places: Places, block_km: float) -> Names:
    """Name the block that holds each patch's centre, as ``EPSG:32723/45/-12``: system, column, row of the cell, (N,).

    Cells are squares of ``block_km`` km in the patch's own system where that is metric, else in its UTM zone.
    """
    left, bottom, right, top = places.bounds.T
    x, y = (left + right) / 2, (bottom + top) / 2
    short = {crs: crs if len(crs) < 20 else "crs" + hashlib.sha256(crs.encode()).hexdigest()[:8] for crs in places.crs}
    systems = np.array([short[crs] for crs in places.crs], object)
    zones = utm_zone(places.degrees)
    for zone in np.unique(zones[~places.metric]).tolist():
        rows = ~places.metric & (zones == zone)
        systems[rows] = f"EPSG:{zone}"
        x[rows], y[rows] = transform(WGS84, CRS.from_epsg(zone), *places.degrees[rows].T)
    cells = np.floor(np.stack([x, y], axis=1) / (1000 * block_km)).astype(np.int64).tolist()
    return np.array([f"{system}/{column}/{row}" for system, (column, row) in zip(systems, cells, strict=True)])


def outline(block: str) -> tuple[str, Ints]:
    """Return the coordinate system of a block, and the columns and rows of its corners in blocks, (4, 2)."""
    system, column, row = block.rsplit("/", 2)
    corner = np.array([int(column), int(row)])
    return system, corner + np.array([[0, 0], [1, 0], [1, 1], [0, 1]])


def sites(places: Places, gap_km: float) -> Names:
    """Name the site of each patch, ``site 1`` onwards in the order of their first patches, (N,).

    Two patches are of one site if the gap between them is at most ``gap_km`` km, and so are all that these connect.
    """
    numbers = np.unique(connected(places, 1000 * gap_km), return_inverse=True)[1]
    return np.array([f"site {number + 1}" for number in numbers.tolist()])
