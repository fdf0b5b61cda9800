"""Whether a probability of 90 % is right nine times in ten: counts of the test pixels by probability, and measures.

Sources: C. Guo et al. 2017 (expected calibration error and reliability diagram, here of 15 bins), M. Kull et al. 2019
(the same by class), G. W. Brier 1950 (the sum over classes).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerraseg.core.files import atomic_write
from cerraseg.core.taxonomy import IGNORE, Legend
from cerraseg.evaluation.metrics import DECIMALS, ratio

BINS = 15
STAGES = ("before", "after")
"""Calibration; a model without one has the first alone."""

Tally = dict[str, NDArray[Any]]
"""``patches`` (patches, stages, 3): sums of negative log-likelihood, Brier score and pixels; ``confidence`` (stages,
bins, 3): pixels, those right, and the sum of their confidence; ``classes`` (stages, classes, bins, 3): the same of each
class's probability, right where the pixel is of the class; ``sets`` (classes, 3): pixels of the class, those whose
class set holds it, and classes in their sets, of a calibrated model."""


def tally(
    stages: Sequence[NDArray[np.float32]],
    truth: NDArray[np.uint8],
    decided: Sequence[NDArray[np.uint8]],
    least: Sequence[float] = (),
) -> Tally:
    """Count the labelled pixels of patches.

    Args:
        stages: probabilities (patches, classes, H, W) before and, of a calibrated model, after calibration.
        truth: positions in the legend, (patches, H, W), 255 = ignore.
        decided: the decision from each of ``stages``, (patches, H, W).
        least: least probability of each class in a class set, of the last of ``stages``.
    """
    known, count = truth != IGNORE, stages[0].shape[1]
    true = truth[known].astype(np.int64)
    patch, places = np.nonzero(known)[0], np.arange(len(true))
    parts: dict[str, list[Any]] = {"patches": [], "confidence": [], "classes": []}
    for shares, chosen in zip(stages, decided, strict=True):
        by_class = np.ascontiguousarray(shares.transpose(1, 0, 2, 3)[:, known])
        of_truth, guess = by_class[true, places], chosen[known].astype(np.int64)
        brier = np.einsum("cn,cn->n", by_class, by_class) + 1 - 2 * of_truth
        sums = (-np.log(np.maximum(of_truth, 1e-12)), brier, np.ones(len(true)))
        parts["patches"].append(np.stack([np.bincount(patch, each, len(truth)) for each in sums], 1))
        parts["confidence"].append(_binned(by_class[guess, places], guess == true))
        parts["classes"].append(np.stack([_binned(by_class[k], true == k) for k in range(count)]))
    found = {name: np.stack(each, 1 if name == "patches" else 0) for name, each in parts.items()}
    sets = np.zeros((count, 3))
    if len(least):
        inside = by_class >= np.asarray(least, np.float32)[:, None]
        sums = (np.ones(len(true)), inside[true, places], inside.sum(0))
        sets = np.stack([np.bincount(true, each, count) for each in sums], 1)
    return found | {"sets": sets}


def _binned(probability: NDArray[np.float32], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    bins = np.minimum((probability * BINS).astype(np.int64), BINS - 1)
    return np.stack([np.bincount(bins, each, BINS) for each in (None, right, probability)], 1)


def pooled(tallies: Sequence[Mapping[str, NDArray[Any]]]) -> Tally:
    """Add tallies up, of other patches each; further arrays, and those by patch, are put one behind the other."""
    summed = ("confidence", "classes", "sets")
    parts = {name: [each[name] for each in tallies] for name in tallies[0]}
    return {name: np.sum(each, 0) if name in summed else np.concatenate(each) for name, each in parts.items()}


def write_tally(path: str | Path, found: Mapping[str, NDArray[Any]]) -> None:
    """Write a tally and further arrays."""
    with atomic_write(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **found)  # type: ignore[arg-type]


def read_tally(path: str | Path) -> Tally:
    """Read what :func:`write_tally` wrote."""
    with np.load(path) as file:
        return dict(file)


def measures(found: Mapping[str, NDArray[Any]], classes: Legend) -> dict[str, Any]:
    """Return the measures of a tally that has ``method`` and ``temperature`` of each model, as plain values.

    Of each of :data:`STAGES`: expected calibration error ``ece`` of the predicted class, and ``class_ece`` of the
    classes' probabilities in the mean; ``nll``, ``brier`` and ``reliability``: pixels, mean confidence and share
    that is right of each bin. Of a calibrated model ``sets``: share of the pixels whose class is in their class set,
    and mean size of these. ``by_class`` has what is known by class.
    """
    rows: list[dict[str, Any]] = [{"id": entry.id, "name": entry.name} for entry in classes]
    stages: dict[str, Any] = {}
    sums, sets = found["patches"].sum(0), found["sets"]
    for stage, total, confidence, by_class in zip(STAGES, sums, found["confidence"], found["classes"], strict=False):
        errors = [_error(one) for one in by_class]
        for row, error in zip(rows, errors, strict=True):
            row[f"ece_{stage}"] = _rounded(error)
        pixels, right, summed = confidence.T
        bins = zip(pixels.astype(int).tolist(), ratio(summed, pixels), ratio(right, pixels), strict=True)
        stages[stage] = {
            "ece": _rounded(_error(confidence)),
            "class_ece": _rounded(np.mean(errors)),
            **dict(zip(("nll", "brier"), map(_rounded, ratio(total[:2], total[[2, 2]])), strict=True)),
            "reliability": [[count, _rounded(mean), _rounded(share)] for count, mean, share in bins],
        }
    if sets.any():
        for row, (pixels, inside, _) in zip(rows, sets, strict=True):
            row["coverage"] = _rounded(inside / pixels) if pixels else None
        pixels, inside, size = sets.sum(0)
        stages["sets"] = {"coverage": _rounded(inside / pixels), "size": _rounded(size / pixels)}
    models = {"method": found["method"].tolist(), "temperature": [*map(_rounded, found["temperature"])]}
    return models | {"after": None, "sets": None} | stages | {"by_class": rows}


def _error(bins: NDArray[np.float64]) -> float:
    """Mean distance of confidence and share that is right, over the pixels of (bins, 3)."""
    pixels, right, summed = bins.T
    return float(np.abs(right - summed).sum() / max(pixels.sum(), 1))


def _rounded(value: Any) -> float:
    return round(float(value), DECIMALS)
