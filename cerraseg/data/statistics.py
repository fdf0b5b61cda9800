"""Statistics of the training split: of the bands, to normalise by, and class counts and class weights for the loss."""

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerraseg.config.dataset import Dataset
from cerraseg.core.errors import DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log, progress
from cerraseg.core.taxonomy import Legend
from cerraseg.data.packed import Store, batches
from cerraseg.data.tables import layers_of, read_patch_table, rows_of


def write_statistics(
    table: str | Path, split: str | Path, store: Store, dataset: Dataset, path: str | Path, *, threads: int = 1
) -> None:
    """Write the statistics of the training split as JSON.

    ``bands``: band → min, max, mean, std over all training pixels with data, in the units of the files. ``levels``:
    level → ``counts`` and ``class_weights`` in the order of its legend. Counts come from the patch table.
    """
    rows = rows_of(split, "train", store.header.ids)
    patches = read_patch_table(table).iloc[rows]
    levels = {}
    for level in layers_of(patches.columns, dataset)[1]:
        counts = patches[dataset.levels[level].count_columns()].sum().to_numpy(np.int64)
        weights = class_weights(counts, level, dataset.classes(level))
        levels[level] = {"counts": counts.tolist(), "class_weights": weights.tolist()}
    content = {"patches": len(rows), "bands": band_statistics(store, rows, threads), "levels": levels}
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def read_bands(path: str | Path) -> dict[str, dict[str, float]]:
    """Read band → min, max, mean and std from a file of :func:`write_statistics`."""
    bands: dict[str, dict[str, float]] = json.loads(Path(path).read_text())["bands"]
    return bands


def class_weights(counts: NDArray[np.int64], level: str, classes: Legend) -> NDArray[np.float64]:
    """Compute the published class weights: 1 / frequency, divided by the largest; 0 for a class without pixels.

    ``counts`` are the training pixels by class, (classes,). A :class:`DataError` is raised if no class has any.
    """
    if not counts.any():
        raise DataError(f"level {level}: the training split has no labelled pixel; every mask value there is 255")
    for absent in (classes[position] for position in np.flatnonzero(counts == 0)):
        log.warning("%s: no training pixel of class %d %s; its class weight is 0", level, absent.id, absent.name)
    inverse: NDArray[np.float64] = np.divide(counts.sum(), counts, out=np.zeros(len(counts)), where=counts > 0)
    return np.asarray(inverse / inverse.max())


def band_statistics(store: Store, rows: NDArray[np.int64], threads: int = 1) -> dict[str, dict[str, float]]:
    """Compute min, max, mean and std of each band over the patches in ``rows``, the same for any number of threads.

    Raises:
        DataError: if a band has no data in any of them.
    """
    with ThreadPoolExecutor(threads) as pool:
        parts = pool.map(lambda batch: _moments(store.images, batch), chunks := batches(rows, 32))
        count, mean, squares, low, high = _merge(progress(parts, "statistics", total=len(chunks)))
    if empty := [band for band, pixels in zip(store.header.bands, count, strict=True) if not pixels]:
        raise DataError(f"{', '.join(empty)}: no training patch has data there; expected images: look at the files")
    table = {"min": low, "max": high, "mean": mean, "std": np.sqrt(squares / count)}
    return {band: {name: float(of[k]) for name, of in table.items()} for k, band in enumerate(store.header.bands)}


def _moments(images: NDArray[np.float32], rows: NDArray[np.int64]) -> tuple[Any, ...]:
    """By band: pixels with data, their mean, sum of squared deviations, minimum and maximum, of these patches."""
    _, bands, height, width = images.shape
    size = height * width
    count = np.full((len(rows), bands), size)
    mean, squares = np.empty((2, len(rows), bands))
    low, high = np.full(bands, np.inf, np.float32), np.full(bands, -np.inf, np.float32)
    wide = np.empty((bands, size))
    lines = wide.reshape(bands, height, width)
    for k, row in enumerate(rows):  # one by one, as a patch fits into the processor's cache
        patch = images[row].reshape(bands, size)
        np.fmin(low, np.fmin.reduce(patch, 1), out=low)
        np.fmax(high, np.fmax.reduce(patch, 1), out=high)
        wide[:] = patch
        gaps = np.isnan(patch)
        holed = gaps.any()
        if holed:
            count[k] -= gaps.sum(1)
            wide[gaps] = 0
        mean[k] = wide.sum(1) / np.maximum(count[k], 1)
        wide -= mean[k][:, None]
        if holed:
            wide[gaps] = 0
        # By line: BLAS splits products of over 10,000 numbers among threads, whose number changes the last digit.
        squares[k] = np.vecdot(lines, lines).sum(1)
    total = count.sum(0)
    centre = (count * mean).sum(0) / np.maximum(total, 1)
    return total, centre, squares.sum(0) + (count * np.square(mean - centre)).sum(0), low, high


def _merge(parts: Iterable[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Join the moments of disjoint samples (Chan, Golub and LeVeque 1983, The American Statistician 37, 242-247)."""
    n, m, s, lowest, highest = 0, 0.0, 0.0, np.inf, -np.inf
    for count, mean, squares, low, high in parts:
        total, delta = np.maximum(n + count, 1), mean - m
        m = m + delta * count / total
        s = s + squares + delta**2 * n * count / total
        n, lowest, highest = n + count, np.minimum(lowest, low), np.maximum(highest, high)
    return n, m, s, lowest, highest
