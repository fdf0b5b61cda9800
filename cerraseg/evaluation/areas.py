"""Hectares of each class of a map, and confusion matrices of two maps of the same ground by block."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.warp import transform
from rasterio.windows import Window

from cerraseg.config.dataset import UNKNOWN
from cerraseg.core.errors import DataError
from cerraseg.core.taxonomy import LandCover, position_table
from cerraseg.evaluation.metrics import Bytes, Counts, Vector, patch_confusions
from cerraseg.geo import rasters
from cerraseg.geo.cog import NO_DATA
from cerraseg.geo.positions import equal_area_around

_CELL = 64  # side in pixels of the cells whose area is measured; its pixels count as equally large


def mapped_areas(maps: Sequence[Path], classes: Sequence[LandCover]) -> tuple[Counts, Vector]:
    """Measure pixels, int64 ``(K,)``, and hectares, float64 ``(K,)``, of each class over class maps without 255.

    A cell of 64 × 64 pixels is the polygon of its corners in a Lambert azimuthal equal-area projection centred on the
    map, shared evenly among its pixels: with pixels of 10 m the total is right to 1e-8, a class to 1e-5. Ground in two
    maps counts twice.

    Raises:
        DataError: if a map lies nowhere or holds other values than the ids of ``classes`` and 255.
    """
    positions = position_table(classes, UNKNOWN)
    pixels, hectares = np.zeros(len(classes), np.int64), np.zeros(len(classes))
    for path in maps:
        with rasters.open_raster(path) as file:
            x, y = file.transform * (file.width / 2, file.height / 2)
            (longitude,), (latitude,) = transform(file.crs, rasters.WGS84, [x], [y])
            plane = equal_area_around(longitude, latitude)
            for _, window in file.block_windows(1):
                chunk = file.read(1, window=window)
                if chunk.min() == NO_DATA:
                    continue
                counts = _count_cells(positions[chunk])
                if counts[:, UNKNOWN].any():
                    ids = ", ".join(str(entry.id) for entry in classes)
                    raise DataError(
                        f"{path} holds the value {chunk[positions[chunk] == UNKNOWN].min()}; expected the class ids "
                        f"{ids}, or {NO_DATA} for no data: give the level that the map was made at."
                    )
                pixels += counts[:, : len(classes)].sum(axis=0)
                hectares += _pixel_hectares(file, window, plane) @ counts[:, : len(classes)]
    return pixels, hectares


def confusion_blocks(map_file: Path, truth_file: Path, classes: Sequence[LandCover], side: int) -> Counts:
    """Count two class maps on one grid by square block of ``side`` pixels: int64 ``(N, K, K)``, rows truth.

    Pixels that are 255 in either are not counted, blocks without a counted pixel are left out.

    Raises:
        DataError: if a value is no class id.
    """
    blocks, positions = [], position_table(classes, UNKNOWN)
    with rasters.open_raster(map_file) as file, rasters.open_raster(truth_file) as reference:
        for top in range(0, file.height, side):
            window = Window(0, top, file.width, min(side, file.height - top))
            read = (positions[source.read(1, window=window)] for source in (file, reference))
            prediction, truth = (squares(values, side) for values in read)
            truth[prediction == NO_DATA] = NO_DATA
            blocks.append(patch_confusions(truth, prediction, len(classes)).astype(np.int64))
    counts = np.concatenate(blocks)
    return counts[counts.any(axis=(1, 2))]


def _count_cells(chunk: Bytes) -> Counts:
    """Count pixels by cell, row by row, and value: ``(cells, 256)``."""
    rows, columns = (np.arange(side) // _CELL for side in chunk.shape)
    codes = ((columns[-1] + 1) * rows[:, None] + columns) * 256
    count = int(codes[-1, -1]) + 256
    return np.bincount((codes + chunk).ravel(), minlength=count).reshape(-1, 256)


def _pixel_hectares(file: Any, window: Window, plane: Any) -> Vector:
    """Compute the hectares of one pixel of each cell of a window, ``(cells,)`` as in :func:`_count_cells`."""
    rows, columns = (
        np.append(np.arange(start, start + length, _CELL), start + length)
        for start, length in ((window.row_off, window.height), (window.col_off, window.width))
    )
    x, y = file.transform * tuple(np.meshgrid(columns, rows))
    east, north = (np.reshape(values, x.shape) for values in transform(file.crs, plane, x.ravel(), y.ravel()))
    # Half the cross product of the diagonals: differences of near points, where sums over corners would cancel.
    (down_x, up_x), (down_y, up_y) = ((v[1:, 1:] - v[:-1, :-1], v[:-1, 1:] - v[1:, :-1]) for v in (east, north))
    square_metres = np.abs(down_x * up_y - down_y * up_x) / 2
    if not np.isfinite(square_metres).all():
        raise DataError(f"{file.name} lies nowhere on Earth; expected a georeferenced map: look at its scene's images.")
    hectares: Vector = square_metres / np.outer(np.diff(rows), np.diff(columns)) / 10_000
    return hectares.ravel()


def squares(strip: Bytes, side: int) -> Bytes:
    """Cut a strip of at most ``side`` rows into squares ``(N, side, side)``, filled up with 255."""
    height, width = strip.shape
    filled = np.pad(strip, ((0, side - height), (0, -width % side)), constant_values=NO_DATA)
    return np.ascontiguousarray(filled.reshape(side, -1, side).swapaxes(0, 1))
