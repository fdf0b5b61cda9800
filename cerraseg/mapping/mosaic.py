"""Mosaics: georeferenced patches put together as one map per coordinate reference system, chunk by chunk."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from rasterio.windows import Window

from cerraseg.core.logs import log
from cerraseg.core.taxonomy import LandCover
from cerraseg.geo.cog import NO_DATA
from cerraseg.geo.patch_grids import Grid, grids
from cerraseg.mapping.map_files import Raster, write_map


def mosaic(
    patches: pd.DataFrame,
    tiles: Raster,
    folder: Path,
    *,
    name: str,
    classes: Sequence[LandCover] | None,
    tags: Mapping[str, str] | None = None,
    threads: int | None = None,
) -> list[Path]:
    """Merge patches to one map per coordinate reference system, ``folder/<name>_<crs>.tif``.

    Where patches overlap, the first in table order that has data wins. The pixels are read patch by patch, so that
    memory grows with neither area nor N.

    Args:
        patches: patch table.
        tiles: pixels (N, H, W) uint8 of the patches in this order: positions in the legend, or percent (0-100); 255 is
            no data.
        name: first part of the file names.
        classes: legend of a class map; None: percent.
        tags, threads: see :func:`cerraseg.geo.cog.new_map`.

    Returns:
        Paths of the maps, in order of their first patch.

    Raises:
        DataError: if the patches lie on no grid.
    """
    paths = []
    for grid in grids(patches, tiles.shape[1:]):
        paths.append(folder / f"{name}_{grid.tag}.tif")
        log.info("%s: %d patches, %d x %d pixels", paths[-1].name, len(grid.ids), *grid.shape[::-1])
        write_map(paths[-1], grid, partial(_paste, grid, tiles), classes=classes, tags=tags, threads=threads)
    return paths


def _paste(grid: Grid, tiles: Raster, window: Window) -> Raster:
    height, width = tiles.shape[1:]
    # With room for whole patches around the window.
    canvas = np.full((window.height + 2 * height, window.width + 2 * width), NO_DATA, np.uint8)
    tops, lefts = grid.rows - window.row_off + height, grid.columns - window.col_off + width
    touch = (tops > 0) & (tops < height + window.height) & (lefts > 0) & (lefts < width + window.width)
    for top, left, member in zip(tops[touch], lefts[touch], grid.members[touch], strict=True):
        held = canvas[top : top + height, left : left + width]
        np.copyto(held, tiles[member], where=held == NO_DATA)
    return canvas[height:-height, width:-width]
