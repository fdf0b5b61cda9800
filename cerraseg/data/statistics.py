"""Statistics of the training split: of the bands, to normalise by, and class counts and class weights for the loss."""

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cerraseg.core.errors import DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.layout import count_columns, levels_of
from cerraseg.core.logs import log, progress
from cerraseg.data.packed import Store, batches
from cerraseg.data.tables import read_patch_table, rows_of
from cerraseg.core.taxonomy import LEVELS


def write_statistics(table: str | Path, split: str | Path, store: Store, path: str | Path, *, threads: int = 1) -> None:
    """Write the statistics of the training split as JSON.

    ``bands``: band → min, max, mean, std over all training pixels, in the units of the files. ``levels``: level →
    ``counts`` and ``class_weights`` by class id. Counts come from the patch table.

    Raises:
        DataError: if the training split holds no labelled pixel of a level.
    """
    rows = rows_of(split, "train")
    patches = read_patch_table(table).iloc[rows]
    levels = {}
    for level in levels_of(patches.columns):
        counts = class_counts(patches, level)
        levels[level] = {"counts": counts.tolist(), "class_weights": class_weights(counts, level).tolist()}
    content = {"patches": len(rows), "bands": band_statistics(store, rows, threads), "levels": levels}
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def read_bands(path: str | Path) -> dict[str, dict[str, float]]:
    """Read band → min, max, mean and std from a file of :func:`write_statistics`."""
    try:
        bands: dict[str, dict[str, float]] = json.loads(Path(path).read_text())["bands"]
        return {band: {name: float(value) for name, value in of.items()} for band, of in bands.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: no band statistics ({error!r}); run the statistics step again") from None


def class_counts(table: pd.DataFrame, level: str) -> NDArray[np.int64]:
    """Count the labelled pixels of each class of ``level`` over the rows of the patch table: (classes,) int64."""
    return table[count_columns(level)].sum().to_numpy(np.int64)


def class_weights(counts: NDArray[np.int64], level: str) -> NDArray[np.float64]:
    """Compute the published class weights: 1 / frequency, divided by the largest; 0 for a class without pixels.

    Args:
        counts: training pixels by class id, (classes,).
        level: named in the warning and the error.

    Returns:
        (classes,) float64 in 0-1; the rarest class present has 1.

    Raises:
        DataError: if no class has a pixel.
    """
    if not counts.any():
        raise DataError(f"level {level}: the training split has no labelled pixel; every mask value there is 255")
    for land_cover, count in zip(LEVELS[level], counts, strict=True):
        if count == 0:
            log.warning(
                "%s: no training pixel of class %d %s; its class weight is 0", level, land_cover.id, land_cover.name
            )
    inverse: NDArray[np.float64] = np.divide(counts.sum(), counts, out=np.zeros(len(counts)), where=counts > 0)
    return np.asarray(inverse / inverse.max())


def band_statistics(store: Store, rows: NDArray[np.int64], threads: int = 1) -> dict[str, dict[str, float]]:
    """Compute minimum, maximum, mean and standard deviation of each band over the patches in ``rows``.

    The same to the last bit for any number of threads.
    """
    with ThreadPoolExecutor(threads) as pool:
        parts = pool.map(lambda batch: _moments(store.images, batch), chunks := batches(rows, 32))
        count, mean, squares, low, high = _merge(progress(parts, "statistics", total=len(chunks)))
    std = np.sqrt(squares / count)
    return {
        band: {"min": float(low[k]), "max": float(high[k]), "mean": float(mean[k]), "std": float(std[k])}
        for k, band in enumerate(store.header.bands)
    }


def _moments(images: NDArray[np.float32], rows: NDArray[np.int64]) -> tuple[Any, ...]:
    """Pixels of a band, and by band mean, sum of squared deviations, minimum and maximum, of the patches in ``rows``.

    Patch by patch, as one fits into the processor's cache.
    """
    bands, height, width = images.shape[1:]
    size = height * width
    wide = np.empty((bands, size))
    # By line: BLAS splits products of over 10,000 numbers among threads, whose number changes the last digit.
    lines = wide.reshape(bands, height, width)
    mean, squares = np.empty((2, len(rows), bands))
    low, high = np.full(bands, np.inf, np.float32), np.full(bands, -np.inf, np.float32)
    for k, row in enumerate(rows):
        patch = images[row].reshape(bands, size)
        np.minimum(low, patch.min(1), out=low)
        np.maximum(high, patch.max(1), out=high)
        np.copyto(wide, patch)
        mean[k] = wide.sum(1) / size
        np.subtract(wide, mean[k][:, None], out=wide)
        squares[k] = np.vecdot(lines, lines).sum(1)
    centre = mean.mean(0)
    return size * len(rows), centre, squares.sum(0) + size * np.square(mean - centre).sum(0), low, high


def _merge(parts: Iterable[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Join the moments of disjoint samples (Chan, Golub and LeVeque 1983, The American Statistician 37, 242-247)."""
    merged: tuple[Any, ...] = (0, 0.0, 0.0, np.inf, -np.inf)
    for count, mean, squares, low, high in parts:
        n, m, s, lowest, highest = merged
        total, delta = n + count, mean - m
        merged = (
            total,
            m + delta * count / total,
            s + squares + delta**2 * n * count / total,
            np.minimum(lowest, low),
            np.maximum(highest, high),
        )
    return merged
