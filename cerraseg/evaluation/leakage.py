"""Leakage of a split: distances between test and training patches, and scores by that distance."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cerraseg.evaluation import bootstrap
from cerraseg.evaluation.metrics import DECIMALS, Vector, class_scores, compute_scores

_BINS = 5  # of distances at most, beside that of the patches that touch a training patch
_PATCHES_PER_BIN = 20  # at least, on average


def leakage_summary(
    confusions: NDArray[np.integer], ids: list[str], distances: str | Path, groups: Sequence[str] | None = None
) -> dict[str, Any]:
    """Compute the section ``leakage`` of a scenario's metrics.

    Args:
        confusions: counts of the scored patches, (N, classes, classes).
        ids: their ids.
        distances: table of :func:`cerraseg.data.splits.distances.write_distances`, which has them all.
        groups: the split's group of each patch, over which intervals are drawn; None: over patches.

    Returns:
        ``touching``, the share of the test patches that touch or overlap a training patch, and ``overlapping``, of
        those that overlap, where any do; ``median_metres`` and ``median_centre_metres``, the medians of the gaps to
        the nearest training patch and of the distances between centres; ``by_distance``, one row per bin of labelled
        patches: ``from`` and ``to`` (smallest and largest gap in m), ``touches``, perhaps ``overlaps``, ``patches``,
        ``accuracy``, ``macro_f1_present`` and its 95 % ``interval`` (0 to 1; None for a single patch or group).
    """
    table = pd.read_csv(distances, dtype={"id": str}, keep_default_na=False).set_index("id")
    table = table.loc[ids]
    gaps, touches = table["metres"].to_numpy(np.float64), table["touches"].to_numpy(bool)
    overlaps = table["overlaps"].to_numpy(bool) if "overlaps" in table else np.zeros(len(ids), bool)
    overlapping = {"overlapping": round(float(overlaps.mean()), DECIMALS)} if overlaps.any() else {}
    names = np.asarray(ids if groups is None else groups)
    labelled = confusions.reshape(len(ids), -1).max(axis=1) > 0
    return {
        "touching": round(float(touches.mean()), DECIMALS),
        **overlapping,
        "median_metres": round(float(np.median(gaps)), 1),
        "median_centre_metres": round(float(table["centre_metres"].median()), 1),
        "by_distance": [
            _row(confusions[rows], gaps[rows], bool(touches[rows[0]]), names[rows])
            | ({"overlaps": True} if overlaps[rows[0]] else {})
            for rows in _bins(gaps, touches, overlaps, labelled)
        ],
    }


def _bins(
    gaps: Vector, touches: NDArray[np.bool_], overlaps: NDArray[np.bool_], labelled: NDArray[np.bool_]
) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of the patches that overlap, of those that touch, then those of each quantile of the others."""
    for near in (overlaps & labelled, touches & ~overlaps & labelled):
        if near.any():
            yield np.flatnonzero(near)
    apart = np.flatnonzero(~touches & labelled)
    if not apart.size:
        return
    bins = min(_BINS, max(1, len(apart) // _PATCHES_PER_BIN))
    edges = np.unique(np.quantile(gaps[apart], np.linspace(0, 1, bins + 1)[1:], method="higher"))
    number = np.searchsorted(edges, gaps[apart])  # of equal gaps, all are in one bin
    yield from (apart[number == k] for k in np.unique(number))


def _row(confusions: NDArray[np.integer], gaps: Vector, touches: bool, names: NDArray[np.str_]) -> dict[str, Any]:
    found, units = compute_scores(confusions.sum(axis=0, dtype=np.int64)), bootstrap.by_group(confusions, names)
    return {
        "from": float(gaps.min()),
        "to": float(gaps.max()),
        "touches": touches,
        "patches": len(gaps),
        "accuracy": round(found.accuracy, DECIMALS),
        "macro_f1_present": round(found.macro_f1_present, DECIMALS),
        "interval": np.round(_interval(units), DECIMALS).tolist() if len(units) > 1 else None,
    }


def _interval(units: NDArray[np.integer]) -> Vector:
    """Compute the interval of macro F1 over the classes present in the truth."""
    truth = units.sum(axis=2, dtype=np.int64).astype(np.float64)
    return bootstrap.intervals(np.concatenate([bootstrap.margins(units), truth], axis=1), _macro_f1_present)[:, 0]


def _macro_f1_present(sums: Vector) -> Vector:
    hits, pixels, truth = np.split(sums, 3, axis=1)
    f1, present = class_scores(hits, pixels)[0], truth > 0
    return np.asarray((f1 * present).sum(axis=1, keepdims=True) / present.sum(axis=1, keepdims=True))
