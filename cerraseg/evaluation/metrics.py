"""Scores of a land-cover prediction from pixel counts: any score can be computed again from ``confusion.csv``."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cerraseg.core.errors import DataError
from cerraseg.core.taxonomy import IGNORE, LandCover

Counts = NDArray[np.int64]
Vector = NDArray[np.float64]
Numbers = NDArray[np.int64] | NDArray[np.float64]
Bytes = NDArray[np.uint8]

BLOCK_PIXELS = 1 << 16
"""Pixels counted at once: the temporary arrays then fit the cache, which makes a plain bincount fast."""

MOST_CLASSES = 15
"""With the ignored pixels, truth and prediction of a pixel then fit one byte."""

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
            | {name: round(getattr(self, name)[entry.id].item(), DECIMALS) for name in PER_CLASS}
            for entry in classes
        ]


def confusion_matrix(truth: Bytes, prediction: Bytes, classes: int) -> Counts:
    """Count pixels by true class (rows) and predicted class (columns): int64 ``(classes, classes)``.

    Args:
        truth: uint8 class ids, e.g. ``(patches, H, W)``; pixels of 255 are not counted. May be memory-mapped, as both
            are read in blocks along the first axis.
        prediction: uint8 class ids of the same shape.
        classes: number of classes of the level.

    Raises:
        DataError: if shapes or types differ from that, or a value is no class id.
    """
    counts = np.zeros(256, dtype=np.int64)
    for _, codes in _codes(truth, prediction, classes):
        counts += np.bincount(codes.ravel(), minlength=256)
    return _square(counts, classes)


def patch_confusions(truth: Bytes, prediction: Bytes, classes: int) -> NDArray[np.uint16 | np.uint32]:
    """Compute :func:`confusion_matrix` of every patch: ``(N, classes, classes)`` from masks ``(N, H, W)``.

    Counts are uint16, or uint32 where a patch has more than 65,535 pixels.
    """
    pixels = math.prod(truth.shape[1:])
    counts = np.zeros((len(truth), 256), dtype=np.uint16 if pixels < 1 << 16 else np.uint32)
    for start, codes in _codes(truth, prediction, classes):
        for patch, code in enumerate(codes, start):
            counts[patch] = np.bincount(code, minlength=256)
    return _square(counts, classes)


def _codes(truth: Bytes, prediction: Bytes, classes: int) -> Iterator[tuple[int, Bytes]]:
    """Yield blocks of ``16 * (truth + 1) + prediction`` ``(patches, pixels)`` with the index of their first patch.

    Adding 1 wraps the ignored 255 round to 0.
    """
    if truth.shape != prediction.shape:
        raise DataError(
            f"truth has shape {truth.shape} but prediction {prediction.shape}; expected one shape for both: "
            "predict again over the same patches."
        )
    for name, array in (("truth", truth), ("prediction", prediction)):
        if array.dtype != np.uint8:
            raise DataError(f"{name} holds {array.dtype}; expected uint8 class ids: convert the mask when it is read.")
    if not 1 <= classes <= MOST_CLASSES:
        raise DataError(f"classes is {classes}; expected 1 to {MOST_CLASSES}: take the number of classes of the level.")
    pixels = max(1, math.prod(truth.shape[1:]))
    patches = max(1, BLOCK_PIXELS // pixels)
    for start in range(0, len(truth), patches):
        rows = truth[start : start + patches].reshape(-1, pixels) + np.uint8(1)
        columns = prediction[start : start + patches].reshape(-1, pixels)
        if rows.max(initial=0) > classes:
            raise DataError(
                f"truth holds the value {rows.max() - 1}; expected class ids 0 to {classes - 1}, or {IGNORE} to "
                "ignore: check the level of the masks."
            )
        if columns.max(initial=0) >= classes:
            raise DataError(
                f"prediction holds the value {columns.max()}; expected class ids 0 to {classes - 1}: "
                "check that the model was trained for this level."
            )
        yield start, np.left_shift(rows, 4, out=rows) | columns


def _square(counts: NDArray[Any], classes: int) -> NDArray[Any]:
    """Arrange counts of codes ``(..., 256)`` as ``(..., classes, classes)``, without the ignored pixels."""
    return counts.reshape(*counts.shape[:-1], 16, 16)[..., 1 : classes + 1, :classes].copy()


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
