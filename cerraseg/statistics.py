"""What the training split looks like: band statistics to normalise by, class counts and class weights for the loss."""

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cerraseg.errors import DataError
from cerraseg.files import replacing
from cerraseg.logs import log, progress
from cerraseg.patches import class_counts, levels_of
from cerraseg.store import Store, batches, rows_of
from cerraseg.taxonomy import LEVELS


def write_statistics(table: str | Path, split: str | Path, store: Store, path: str | Path, *, threads: int = 1) -> None:
    """Write the statistics of the training split as JSON.

    ``bands``: band → min, max, mean, std over all training pixels, in the units of the files. ``levels``: level →
    ``counts`` and ``class_weights`` by class id. No image is read twice and no mask at all: counts come from the table.

    Raises:
        DataError: if the training split holds no labelled pixel of a level.
    """
    rows = rows_of(split, "train")
    patches = pd.read_parquet(table).iloc[rows]
    levels = {}
    for level in levels_of(patches.columns):
        counts = class_counts(patches, level)
        levels[level] = {"counts": counts.tolist(), "class_weights": class_weights(counts, level).tolist()}
    content = {"patches": len(rows), "bands": band_statistics(store, rows, threads), "levels": levels}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def class_weights(counts: NDArray[np.int64], level: str) -> NDArray[np.float64]:
    """The published class weights: 1 / frequency, divided by the largest; 0 for a class without pixels.

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
    """Minimum, maximum, mean and standard deviation of each band over the patches in ``rows``."""
    with ThreadPoolExecutor(threads) as pool:
        parts = pool.map(lambda batch: _moments(store.images[batch]), chunks := batches(rows, 32))
        count, mean, squares, low, high = _merge(progress(parts, "statistics", total=len(chunks)))
    std = np.sqrt(squares / count)
    return {
        band: {"min": float(low[k]), "max": float(high[k]), "mean": float(mean[k]), "std": float(std[k])}
        for k, band in enumerate(store.header.bands)
    }


def _moments(images: NDArray[np.float32]) -> tuple[Any, ...]:
    axes = (0, 2, 3)
    mean = images.mean(axes, dtype=np.float64)
    squares = np.square(images - mean[:, None, None]).sum(axes)
    return images[:, 0].size, mean, squares, images.min(axes), images.max(axes)


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
