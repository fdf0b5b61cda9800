"""Scores of a land-cover prediction from pixel counts: any score can be computed again from ``confusion.csv``."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cerraseg.core.errors import DataError
from cerraseg.core.taxonomy import IGNORE, LandCover

Counts = NDArray[np.int64]
Vector = NDArray[np.float64]
Numbers = NDArray[np.int64] | NDArray[np.float64]
Bytes = NDArray[np.uint8]

DECIMALS = 6
PER_CLASS = ("precision", "recall", "f1", "iou", "support", "predicted")


@dataclass(frozen=True)
class Scores:
    """Scores by the published rule, as fractions from 0 to 1 (kappa from -1 to 1), never NaN.

    ``precision``, ``recall``, ``f1`` and ``iou`` are float64 ``(classes,)``; ``support`` (true pixels) and
    ``predicted`` (predicted pixels) are int64 ``(classes,)``.
    """

    accuracy: float
    macro_f1: float
    macro_f1_present: float
    weighted_f1: float
    macro_precision: float
    macro_recall: float
    miou: float
    miou_present: float
    kappa: float
    precision: Vector
    recall: Vector
    f1: Vector
    iou: Vector
    support: Counts
    predicted: Counts

    def summary(self) -> dict[str, float]:
        """Return the nine scores over all classes, by name, rounded to six decimals."""
        return {name: round(value, DECIMALS) for name, value in vars(self).items() if name not in PER_CLASS}

    def by_class(self, classes: Sequence[LandCover]) -> list[dict[str, object]]:
        """Return one row per class: id, abbreviation, name, then precision, recall, f1, iou, support and predicted."""
        return [
            {"id": entry.id, "abbreviation": entry.abbreviation, "name": entry.name}
            | {name: round(getattr(self, name)[position].item(), DECIMALS) for name in PER_CLASS}
            for position, entry in enumerate(classes)
        ]


def confusion_matrix(truth: Bytes, prediction: Bytes, classes: int) -> Counts:
    """Compute the sum of :func:`patch_confusions` over all patches: int64 ``(classes, classes)``."""
    return np.asarray(patch_confusions(truth, prediction, classes).sum(axis=0, dtype=np.int64))


def patch_confusions(truth: Bytes, prediction: Bytes, classes: int) -> NDArray[np.uint16 | np.uint32]:
    """Count the pixels of every patch by true class (rows) and predicted class (columns).

    Args:
        truth: uint8 positions in the legend ``(N, ...)``; pixels of 255 are not counted. May be memory-mapped.
        prediction: uint8 positions of the same shape; 255 where the images have no data, and so no truth.
        classes: number of classes of the level.

    Returns:
        ``(N, classes, classes)`` of uint16, or uint32 where a patch has more than 65,535 pixels.

    Raises:
        DataError: if a value is no position.
    """
    large = math.prod(truth.shape[1:]) >= 1 << 16
    counts = np.zeros((len(truth), classes + 1, classes), np.uint32 if large else np.uint16)
    for patch, (true, predicted) in enumerate(zip(truth, prediction, strict=True)):
        rows, columns = true.ravel() + np.uint8(1), predicted.ravel()  # the ignored 255 becomes 0
        if columns.max(initial=0) == IGNORE:
            columns = np.where((columns == IGNORE) & (rows == 0), np.uint8(0), columns)
        if rows.max(initial=0) > classes or columns.max(initial=0) >= classes:
            raise DataError(
                f"truth or prediction holds a value above {classes - 1} that is not the {IGNORE} of ignored pixels of "
                f"the truth; expected one of {classes} classes: check the level of the masks and of the model."
            )
        codes = np.uint16(classes) * rows + columns
        counts[patch] = np.bincount(codes, minlength=counts[patch].size).reshape(classes + 1, classes)
    return counts[:, 1:].copy()


def compute_scores(confusion: ArrayLike) -> Scores:
    """Compute every score of a confusion matrix ``(classes, classes)`` of pixel counts, rows truth, columns prediction.

    The averaging rule is the published benchmark's: ``macro_f1``, ``macro_precision``, ``macro_recall`` and ``miou``
    are the plain mean over **all** classes of the level, with 0 for a class that was never predicted or is absent from
    both. ``macro_f1_present`` and ``miou_present`` are the mean over the classes present in the truth. A ratio whose
    denominator is 0 counts as 0 (also kappa, when truth and prediction hold one and the same class).

    Raises:
        DataError: if the matrix counts no pixel.
    """
    counts = np.asarray(confusion, dtype=np.int64)
    total = int(counts.sum())
    if not total:
        raise DataError("no labelled pixel is counted; expected at least one: check that the test patches have labels.")
    hits, support, predicted = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    precision, recall = ratio(hits, predicted), ratio(hits, support)
    f1, iou = class_scores(hits, support + predicted)
    accuracy = float(hits.sum()) / total
    chance = float((support / total) @ (predicted / total))
    return Scores(
        accuracy=accuracy,
        macro_f1=float(f1.mean()),
        macro_f1_present=float(f1[support > 0].mean()),
        weighted_f1=float(f1 @ support) / total,
        macro_precision=float(precision.mean()),
        macro_recall=float(recall.mean()),
        miou=float(iou.mean()),
        miou_present=float(iou[support > 0].mean()),
        kappa=(accuracy - chance) / (1 - chance) if chance < 1 else 0.0,
        precision=precision,
        recall=recall,
        f1=f1,
        iou=iou,
        support=support,
        predicted=predicted,
    )


def ratio(part: Numbers, whole: Numbers) -> Vector:
    """Divide ``part`` by ``whole``, 0 where ``whole`` is 0."""
    return np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)


def class_scores(hits: Numbers, pixels: Numbers) -> tuple[Vector, Vector]:
    """Compute F1 and IoU of every class, of the shape of ``hits``, by the published rule.

    Args:
        hits: pixels found right.
        pixels: true plus predicted pixels. A class that is never predicted, or neither predicted nor true, has 0.
    """
    return ratio(2 * hits, pixels), ratio(hits, pixels - hits)
