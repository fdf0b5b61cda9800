"""Statistics of the training split: of the bands, to normalise by, and class counts and class weights for the loss."""

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerraseg.core.errors import DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.layout import count_columns, levels_of
from cerraseg.core.logs import log, progress
from cerraseg.core.taxonomy import LEVELS
from cerraseg.data.packed import Store, batches
from cerraseg.data.tables import read_patch_table, rows_of


def write_statistics(table: str | Path, split: str | Path, store: Store, path: str | Path, *, threads: int = 1) -> None:
    """Write the statistics of the training split as JSON.

    ``bands``: band → min, max, mean, std over all training pixels, in the units of the files. ``levels``: level →
    ``counts`` and ``class_weights`` by class id. Counts come from the patch table.
    """
    rows = rows_of(split, "train", store.header.ids)
    patches = read_patch_table(table).iloc[rows]
    levels = {}
    for level in levels_of(patches.columns):
        counts = patches[count_columns(level)].sum().to_numpy(np.int64)
        levels[level] = {"counts": counts.tolist(), "class_weights": class_weights(counts, level).tolist()}
    content = {"patches": len(rows), "bands": band_statistics(store, rows, threads), "levels": levels}
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def read_bands(path: str | Path) -> dict[str, dict[str, float]]:
    """Read band → min, max, mean and std from a file of :func:`write_statistics`."""
    bands: dict[str, dict[str, float]] = json.loads(Path(path).read_text())["bands"]
    return bands


def class_weights(counts: NDArray[np.int64], level: str) -> NDArray[np.float64]:
    """Compute the published class weights: 1 / frequency, divided by the largest; 0 for a class without pixels.

    Args:
        counts: training pixels by class id, (classes,).
        level: whose classes these are.

    Raises:
        DataError: if no class has a pixel.
    """
    if not counts.any():
        raise DataError(f"level {level}: the training split has no labelled pixel; every mask value there is 255")
    for absent in (LEVELS[level][id_] for id_ in np.flatnonzero(counts == 0)):
        log.warning("%s: no training pixel of class %d %s; its class weight is 0", level, absent.id, absent.name)
    inverse: NDArray[np.float64] = np.divide(counts.sum(), counts, out=np.zeros(len(counts)), where=counts > 0)
    return np.asarray(inverse / inverse.max())


def band_statistics(store: Store, rows: NDArray[np.int64], threads: int = 1) -> dict[str, dict[str, float]]:
    """Compute min, max, mean and std of each band over the patches in ``rows``, the same for any number of threads."""
    with ThreadPoolExecutor(threads) as pool:
        parts = pool.map(lambda batch: _moments(store.images, batch), chunks := batches(rows, 32))
        count, mean, squares, low, high = _merge(progress(parts, "statistics", total=len(chunks)))
    table = {"min": low, "max": high, "mean": mean, "std": np.sqrt(squares / count)}
    return {band: {name: float(of[k]) for name, of in table.items()} for k, band in enumerate(store.header.bands)}


def _moments(images: NDArray[np.float32], rows: NDArray[np.int64]) -> tuple[Any, ...]:
    """Pixels of a band, and by band mean, sum of squared deviations, minimum and maximum, of these patches."""
    _, bands, height, width = images.shape
    size = height * width
    mean, squares = np.empty((2, len(rows), bands))
    low, high = np.full(bands, np.inf, np.float32), np.full(bands, -np.inf, np.float32)
    wide = np.empty((bands, height, width))
    for k, row in enumerate(rows):  # one by one, as a patch fits into the processor's cache
        patch = images[row].reshape(bands, size)
        np.minimum(low, patch.min(1), out=low)
        np.maximum(high, patch.max(1), out=high)
        wide[:] = images[row]
        mean[k] = wide.reshape(bands, size).mean(1)
        wide -= mean[k][:, None, None]
        # By line: BLAS splits products of over 10,000 numbers among threads, whose number changes the last digit.
        squares[k] = np.vecdot(wide, wide).sum(1)
    centre = mean.mean(0)
    return size * len(rows), centre, squares.sum(0) + size * np.square(mean - centre).sum(0), low, high


def _merge(parts: Iterable[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Join the moments of disjoint samples (Chan, Golub and LeVeque 1983, The American Statistician 37, 242-247)."""
    n, m, s, lowest, highest = 0, 0.0, 0.0, np.inf, -np.inf
    for count, mean, squares, low, high in parts:
        total, delta = n + count, mean - m
        m = m + delta * count / total
        s = s + squares + delta**2 * n * count / total
        n, lowest, highest = total, np.minimum(lowest, low), np.maximum(highest, high)
    return n, m, s, lowest, highest
