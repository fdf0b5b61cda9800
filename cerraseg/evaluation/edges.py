"""Scores of edges between classes, with a tolerance in pixels."""

from itertools import product

import numpy as np
from numpy.typing import NDArray

from cerraseg.core.taxonomy import IGNORE
from cerraseg.data.masks import Mask

TOLERANCES = (0, 1, 2)
"""Distances in pixels up to which a predicted edge counts as found."""

_BLOCK = 32  # patches at a time: temporary arrays of about 20 MB


def edge_scores(truth: Mask, prediction: Mask) -> dict[str, dict[str, float]]:
    """Compute precision, recall and F1 (0-1) of the edge class by tolerance in pixels (``"0"``, ``"1"``, ``"2"``).

    Precision is the share of predicted edge pixels that have a true one within the tolerance (Euclidean distance,
    inside the patch), recall the share of true ones that have a predicted one: the boundary measure of Csurka et al.
    (2013, BMVC). All pixels of all patches are counted together; a ratio of nothing is 0. Truth without any edge, as
    sparse labels give, has no scores.

    Args:
        truth: (N, H, W) of 0, 1 and 255 = ignore: such pixels count on neither side.
        prediction: (N, H, W) of 0 and 1.
    """
    counts = {tolerance: np.zeros(4, int) for tolerance in TOLERANCES}
    for start in range(0, len(truth), _BLOCK):
        labels = np.asarray(truth[start : start + _BLOCK])
        true = labels == 1
        found = (np.asarray(prediction[start : start + _BLOCK]) == 1) & (labels != IGNORE)
        for tolerance, total in counts.items():
            near_true, near_found = _within(true, tolerance), _within(found, tolerance)
            total += [(found & near_true).sum(), found.sum(), (true & near_found).sum(), true.sum()]
    return {str(tolerance): _ratios(*total.tolist()) for tolerance, total in counts.items() if total[-1]}


def _within(edges: NDArray[np.bool_], distance: int) -> NDArray[np.bool_]:
    height, width = edges.shape[-2:]
    padded = np.pad(edges, ((0, 0), (distance, distance), (distance, distance)))
    near = np.zeros(edges.shape, bool)
    for down, right in product(range(2 * distance + 1), repeat=2):
        if (down - distance) ** 2 + (right - distance) ** 2 <= distance**2:
            near |= padded[:, down : down + height, right : right + width]
    return near


def _ratios(found_hits: int, found: int, true_hits: int, true: int) -> dict[str, float]:
    precision, recall = found_hits / max(1, found), true_hits / max(1, true)
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {"precision": round(precision, 6), "recall": round(recall, 6), "f1": round(f1, 6)}
