"""The pixel grids that georeferenced patches lie on: one per coordinate reference system."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.crs import CRS

from cerraseg.core.errors import DataError
from cerraseg.core.logs import log
from cerraseg.geo.rasters import crs_code

MAX_PIXELS = 250_000_000_000
"""Largest map in pixels, holes included: a square that holds Brazil at 10 m has 1.9e11."""

_SIZE_TOLERANCE = 1e-3  # relative; over a patch of 128 pixels an eighth of a pixel
_SHIFT_NOTED = 1e-3  # pixels; less is the rounding of a stored coordinate


@dataclass(frozen=True)
class Grid:
    """One map's pixel grid and the patches on it."""

    tag: str  # the coordinate system in file names, such as epsg32722
    crs: Any
    transform: Any
    shape: tuple[int, int]  # (height, width) in pixels
    members: NDArray[np.int64]  # positions of the patches in the patch table, in its order
    ids: list[str]  # their ids
    rows: NDArray[np.int64]  # rows of their upper left corners on the grid
    columns: NDArray[np.int64]  # columns of them


def grids(patches: pd.DataFrame, tile_shape: tuple[int, int]) -> list[Grid]:
    """Lay patches on one pixel grid per coordinate system, in order of their first patch.

    A grid has the pixels of its first patch and the extent of all. A patch that lies off it by a fraction of a pixel is
    moved to the nearest pixel, and the log has how many and how far.

    Args:
        patches: one row per patch, all north up, with the columns id, crs and a to f: x = a·col + c, y = e·row + f.
        tile_shape: (height, width) of the patches in pixels.

    Raises:
        DataError: on unlike pixel sizes, and an extent above :data:`MAX_PIXELS`.
    """
    systems = {text: CRS.from_user_input(text) for text in patches["crs"].unique()}
    tags = {text: _tag(crs) for text, crs in systems.items()}
    members: dict[str, list[int]] = {}
    for position, text in enumerate(patches["crs"]):
        members.setdefault(tags[text], []).append(position)
    return [
        _grid(patches.iloc[found], tag, systems[patches["crs"].iloc[found[0]]], np.array(found), tile_shape)
        for tag, found in members.items()
    ]


def _tag(crs: CRS) -> str:
    code = crs_code(crs)
    return code.replace(":", "").lower() if code else "crs" + hashlib.sha256(crs.to_wkt().encode()).hexdigest()[:8]


def _grid(table: pd.DataFrame, tag: str, crs: Any, members: NDArray[np.int64], tile_shape: tuple[int, int]) -> Grid:
    ids = table["id"].astype(str).to_list()
    a, c, e, f = (table[column].to_numpy(np.float64) for column in "acef")
    unlike = (np.abs(a / a[0] - 1) > _SIZE_TOLERANCE) | (np.abs(e / e[0] - 1) > _SIZE_TOLERANCE)
    if unlike.any():
        bad = int(np.argmax(unlike))
        raise DataError(
            f"patch {ids[bad]} has pixels of {a[bad]:g} x {-e[bad]:g}; expected {a[0]:g} x {-e[0]:g} as in patch "
            f"{ids[0]}, to 0.1 %: resample it"
        )
    if crs.is_geographic:
        c = _without_gap(c)
    exact = np.stack([(f - f[0]) / e[0], (c - c[0]) / a[0]])
    # Half a pixel always goes the same way, so that a row of patches stays straight.
    nearest = np.floor(exact + 0.5)
    shifts = np.abs(exact - nearest).max(axis=0)
    if moved := np.count_nonzero(shifts > _SHIFT_NOTED):
        told = "%s: %d of %d patches lie off the pixel grid of patch %s, by up to %.2f pixels: moved to the nearest"
        log.info(told, tag, moved, len(ids), ids[0], shifts.max())
    corner = nearest.min(axis=1)
    offsets = nearest - corner[:, None]
    height, width = (offsets.max(axis=1) + tile_shape).tolist()
    if height * width > MAX_PIXELS:
        raise DataError(
            f"the {len(ids)} patches in {tag} span {width:.0f} x {height:.0f} pixels, more than {MAX_PIXELS:.0e}; "
            f"expected patches of one region: correct the outliers among them (the first is {ids[0]}) or call mosaic "
            "once a region"
        )
    transform = Affine(a[0], 0.0, c[0] + corner[1] * a[0], 0.0, e[0], f[0] + corner[0] * e[0])
    rows, columns = offsets.astype(np.int64)
    return Grid(tag, crs, transform, (int(height), int(width)), members, ids, rows, columns)


def _without_gap(longitudes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move longitudes east by 360° where that brings all within 180°: 179.9 and -179.9 become 179.9 and 180.1."""
    ordered = np.unique(longitudes)
    gaps = np.diff(ordered)
    if ordered[-1] - ordered[0] <= 180 or gaps.max() <= 180:
        return longitudes
    return np.where(longitudes <= ordered[np.argmax(gaps)], longitudes + 360, longitudes)
