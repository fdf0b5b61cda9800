"""Put georeferenced patches together as one map per coordinate reference system, chunk by chunk."""

import hashlib
import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError

from cerraseg.cog import CHUNK, NO_DATA, new_map
from cerraseg.errors import DataError
from cerraseg.logs import log, progress
from cerraseg.taxonomy import LandCover

COLUMNS = ("id", "crs", "a", "b", "c", "d", "e", "f")
"""What :func:`mosaic` needs of the patch table; ``a``-``f`` are x = a·col + b·row + c, y = d·col + e·row + f."""

MAX_PIXELS = 250_000_000_000
"""Largest map in pixels, holes included: a square that holds Brazil at 10 m has 1.9e11."""

_SIZE_TOLERANCE = 1e-3  # relative; over a patch of 128 pixels an eighth of a pixel
_SHIFT_NOTED = 1e-3  # pixels; less is the rounding of a stored coordinate


@dataclass(frozen=True)
class _Grid:
    """One map's pixel grid and the patches on it: ``members`` are rows of the patch table, in its order."""

    tag: str
    crs: Any
    transform: Any
    shape: tuple[int, int]
    members: NDArray[np.int64]
    ids: list[str]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]


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
    """Merge patches to ``folder/<name>_<crs>.tif``, one Cloud-Optimized GeoTIFF per CRS; see :func:`cog.new_map` for
    the file and its sidecar.

    ``patches`` has the columns :data:`COLUMNS`, one row a patch; ``tiles`` (N, H, W) uint8 holds their pixels in the
    same order and is read patch by patch, so that memory grows with neither area nor N. With ``classes`` pixels are
    class ids, without they are percent (0-100); 255 is no data. ``threads`` compress (None: one a core).

    A map's pixel grid is that of the first patch in its CRS, its extent the union of the patches. A patch that lies
    off the grid by a fraction of a pixel is moved to the nearest pixel, and the log says how many and how far. Where
    patches overlap, the first in table order that has data wins.

    Returns the maps' paths in order of their first patch. Raises :class:`DataError` on tables and tiles that do not
    fit, unknown or unlike coordinate systems and pixel sizes, rotated or south-up patches, values outside the range
    and an extent above :data:`MAX_PIXELS`.
    """
    _check(patches, tiles)
    grids = _grids(patches, (tiles.shape[1], tiles.shape[2]))
    return [_write(grid, tiles, folder / f"{name}_{grid.tag}.tif", classes, tags, threads) for grid in grids]


def _write(
    grid: _Grid,
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
            _release(tiles)
    height, width = grid.shape
    share = draft.valid_pixels / (height * width)
    log.info(
        "%s: %d patches, %d x %d pixels, %.1f %% with data", target.name, len(grid.ids), width, height, 100 * share
    )
    return target


def _paste(
    grid: _Grid, tiles: NDArray[np.uint8], at: tuple[int, int], members: Sequence[int], largest: int
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


def _release(tiles: NDArray[np.uint8]) -> None:
    """Let go of the pages of a read-only memory map: they stay in the system's cache but leave our memory."""
    owner: Any = tiles
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, mmap.mmap) and not tiles.flags.writeable and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)


def _chunk_members(grid: _Grid, tile_shape: tuple[int, ...]) -> dict[tuple[int, int], list[int]]:
    """Chunk (row, column) → positions in ``grid.members`` of the patches that touch it, in table order."""
    height, width = tile_shape
    found: dict[tuple[int, int], list[int]] = {}
    for position, (top, left) in enumerate(zip(grid.rows.tolist(), grid.columns.tolist(), strict=True)):
        for row in range(top // CHUNK, (top + height - 1) // CHUNK + 1):
            for column in range(left // CHUNK, (left + width - 1) // CHUNK + 1):
                found.setdefault((row, column), []).append(position)
    return found


def _grids(patches: pd.DataFrame, tile_shape: tuple[int, int]) -> list[_Grid]:
    systems = {text: _system(text, patches) for text in patches["crs"].unique()}
    members: dict[str, list[int]] = {}
    for position, text in enumerate(patches["crs"]):
        members.setdefault(systems[text][0], []).append(position)
    return [
        _grid(patches.iloc[found], *systems[patches["crs"].iloc[found[0]]], np.array(found), tile_shape)
        for found in members.values()
    ]


def _system(text: Any, patches: pd.DataFrame) -> tuple[str, Any]:
    try:
        crs = CRS.from_user_input(text)
        if not crs:
            raise CRSError("empty")
    except (CRSError, TypeError, ValueError) as error:
        holder = patches.loc[patches["crs"].isna() if pd.isna(text) else patches["crs"] == text, "id"].iloc[0]
        raise DataError(
            f"patch {holder} has the coordinate reference system {text!r}, which GDAL does not know ({error}); "
            'expected one such as "EPSG:32722" or WKT: correct the georeference of its files'
        ) from error
    authority = crs.to_authority()
    if authority:
        return "".join(authority).lower(), crs
    return "crs" + hashlib.sha256(crs.to_wkt().encode()).hexdigest()[:8], crs


def _grid(table: pd.DataFrame, tag: str, crs: Any, members: NDArray[np.int64], tile_shape: tuple[int, int]) -> _Grid:
    ids = table["id"].astype(str).to_list()
    a, b, c, d, e, f = (table[column].to_numpy(np.float64) for column in "abcdef")
    _check_transforms(ids, a, b, c, d, e, f)
    exact = np.stack([(f - f[0]) / e[0], (c - c[0]) / a[0]])
    # Half a pixel always goes the same way, so that a row of patches stays straight.
    nearest = np.floor(exact + 0.5)
    _note_shifts(tag, ids[0], np.abs(exact - nearest).max(axis=0))
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
    return _Grid(tag, crs, transform, (int(height), int(width)), members, ids, rows, columns)


def _note_shifts(tag: str, first: str, shifts: NDArray[np.float64]) -> None:
    moved = int(np.count_nonzero(shifts > _SHIFT_NOTED))
    if moved:
        log.info(
            "%s: %d of %d patches lie off the pixel grid of patch %s, by up to %.2f pixels: moved to the nearest pixel",
            *(tag, moved, len(shifts), first, shifts.max()),
        )


def _check(patches: pd.DataFrame, tiles: NDArray[np.uint8]) -> None:
    missing = [column for column in COLUMNS if column not in patches.columns]
    if missing:
        raise DataError(
            f"the patch table has no column {', '.join(missing)}; expected {', '.join(COLUMNS)}: index again"
        )
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
    if patches.empty:
        raise DataError(
            "there is no patch to put on a map; expected at least one: look at the split that was predicted"
        )


def _check_transforms(ids: Sequence[str], *coefficients: NDArray[np.float64]) -> None:
    a, b, _, d, e, _ = coefficients
    good = np.asarray(np.isfinite(np.stack(coefficients)).all(axis=0))
    _refuse(ids, ~good, coefficients, "finite numbers", "correct the georeference of its files")
    turned = (np.abs(b) > 1e-6 * np.abs(a)) | (np.abs(d) > 1e-6 * np.abs(e))
    _refuse(ids, turned, coefficients, "b = d = 0 (no rotation or shear)", "warp it to a north-up grid")
    flipped = (a <= 0) | (e >= 0)
    _refuse(ids, flipped, coefficients, "a > 0 and e < 0 (north up)", "flip its rows or columns and the transform")
    unlike = (np.abs(a / a[0] - 1) > _SIZE_TOLERANCE) | (np.abs(e / e[0] - 1) > _SIZE_TOLERANCE)
    expected = f"pixels of {a[0]:g} x {-e[0]:g} as in patch {ids[0]}, to 0.1 %"
    _refuse(ids, unlike, coefficients, expected, "resample it, or map each pixel size by itself")


def _refuse(
    ids: Sequence[str], bad: NDArray[np.bool_], coefficients: Sequence[NDArray[np.float64]], expected: str, remedy: str
) -> None:
    if bad.any():
        where = int(np.argmax(bad))
        found = ", ".join(f"{k} = {v[where]:g}" for k, v in zip("abcdef", coefficients, strict=True))
        raise DataError(f"patch {ids[where]} has the transform {found}; expected {expected}: {remedy}")


def _refuse_values(patch: str, part: NDArray[np.uint8], largest: int) -> NoReturn:
    value = int(part[part != NO_DATA].max())
    raise DataError(
        f"patch {patch} holds the value {value}; expected 0 to {largest}, or {NO_DATA} for no data: "
        "give the level that the patch was predicted at, or correct its tile"
    )
