"""Mosaics: georeferenced patches put together as one map per coordinate reference system, chunk by chunk."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cerraseg.core.errors import DataError
from cerraseg.core.logs import log, progress
from cerraseg.core.taxonomy import LandCover
from cerraseg.geo.cog import CHUNK, NO_DATA, new_map
from cerraseg.geo.patch_grids import Grid, grids


def mosaic(
    patches: pd.DataFrame,
    tiles: NDArray[np.uint8],
    folder: Path,
    *,
    name: str,
    classes: Sequence[LandCover] | None,
    tags: Mapping[str, str] | None = None,
    threads: int | None = None,
) -> list[Path]:
    """Merge patches to one map per coordinate reference system, ``folder/<name>_<crs>.tif``, see :func:`new_map`.

    Where patches overlap, the first in table order that has data wins. The pixels are read patch by patch, so that
    memory grows with neither area nor N.

    Args:
        patches: patch table, see :func:`cerraseg.geo.patch_grids.grids`.
        tiles: pixels (N, H, W) uint8 of the patches in this order: class ids, or percent (0-100); 255 is no data. They
            may be memory-mapped.
        folder: folder to write into.
        name: first part of the file names.
        classes: legend of a class map; None: percent.
        tags: further metadata of the files.
        threads: threads that compress; None: one per core.

    Returns:
        Paths of the maps, in order of their first patch.

    Raises:
        DataError: if the patches lie on no grid, the tiles do not fit the table, or a value is out of range.
        StorageError: if the disk is full.
    """
    _check_tiles(patches, tiles)
    return [
        _write_mosaic(grid, tiles, folder / f"{name}_{grid.tag}.tif", classes, tags, threads)
        for grid in grids(patches, (tiles.shape[1], tiles.shape[2]))
    ]


def _write_mosaic(
    grid: Grid,
    tiles: NDArray[np.uint8],
    target: Path,
    classes: Sequence[LandCover] | None,
    tags: Mapping[str, str] | None,
    threads: int | None,
) -> Path:
    largest = 100 if classes is None else len(classes) - 1
    georeference = {"shape": grid.shape, "crs": grid.crs, "transform": grid.transform}
    chunks = sorted(_chunk_members(grid, tiles.shape[1:]).items())
    with new_map(target, **georeference, classes=classes, tags=tags, threads=threads) as draft:
        for (row, column), members in progress(chunks, target.stem, len(chunks)):
            draft.write(row, column, _paste(grid, tiles, (row, column), members, largest))
    height, width = grid.shape
    share = draft.valid_pixels / (height * width)
    log.info(
        "%s: %d patches, %d x %d pixels, %.1f %% with data", target.name, len(grid.ids), width, height, 100 * share
    )
    return target


def _paste(
    grid: Grid, tiles: NDArray[np.uint8], at: tuple[int, int], members: Sequence[int], largest: int
) -> NDArray[np.uint8]:
    top, left = at[0] * CHUNK, at[1] * CHUNK
    chunk = np.full((min(CHUNK, grid.shape[0] - top), min(CHUNK, grid.shape[1] - left)), NO_DATA, np.uint8)
    for member in members:
        rows, from_rows = _overlap(int(grid.rows[member]) - top, tiles.shape[1], chunk.shape[0])
        columns, from_columns = _overlap(int(grid.columns[member]) - left, tiles.shape[2], chunk.shape[1])
        part = np.asarray(tiles[int(grid.members[member]), from_rows, from_columns])
        # One byte further on, 255 wraps round to 0: the largest value shows whether all are in range.
        if (part + np.uint8(1)).max() > largest + 1:
            _refuse_values(grid.ids[member], part, largest)
        held = chunk[rows, columns]
        if held.min() == NO_DATA:
            held[...] = part
        else:
            np.copyto(held, part, where=held == NO_DATA)
    return chunk


def _overlap(start: int, length: int, limit: int) -> tuple[slice, slice]:
    first, last = max(start, 0), min(start + length, limit)
    return slice(first, last), slice(first - start, last - start)


def _chunk_members(grid: Grid, tile_shape: tuple[int, ...]) -> dict[tuple[int, int], list[int]]:
    """Chunk (row, column) → positions in ``grid.members`` of the patches that touch it, in table order."""
    height, width = tile_shape
    found: dict[tuple[int, int], list[int]] = {}
    for position, (top, left) in enumerate(zip(grid.rows.tolist(), grid.columns.tolist(), strict=True)):
        for row in range(top // CHUNK, (top + height - 1) // CHUNK + 1):
            for column in range(left // CHUNK, (left + width - 1) // CHUNK + 1):
                found.setdefault((row, column), []).append(position)
    return found


def _check_tiles(patches: pd.DataFrame, tiles: NDArray[np.uint8]) -> None:
    if tiles.ndim != 3 or tiles.dtype != np.uint8 or 0 in tiles.shape[1:]:
        raise DataError(
            f"the tiles are {tiles.dtype} of shape {tiles.shape}; expected uint8 (patches, height, width): "
            "convert class ids or percent to uint8 with 255 for no data"
        )
    if len(patches) != len(tiles):
        raise DataError(
            f"the patch table has {len(patches)} rows, but there are {len(tiles)} tiles; expected one tile a patch in "
            "the same order: take both from the same prediction"
        )


def _refuse_values(patch: str, part: NDArray[np.uint8], largest: int) -> NoReturn:
    value = int(part[part != NO_DATA].max())
    raise DataError(
        f"patch {patch} holds the value {value}; expected 0 to {largest}, or {NO_DATA} for no data: "
        "give the level that the patch was predicted at, or correct its tile"
    )
