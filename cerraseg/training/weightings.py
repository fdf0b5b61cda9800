"""Weightings: how a scenario treats rare classes, in the loss or in how often a patch is drawn.

Counts are pixels of the training split by class. A class without any gets the class weight 0, as in the published
weighting, and the prior of the rarest class that is there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerraseg.data.packed import Store

_CAP = 30.0  # largest over smallest class weight of ``sqrt``; ours: in CerraData-4MM the root alone gives over 70
_GAMMA = 2.0  # exponent of ``focal``, the paper's best
# Share of the patches below which ``rare`` draws a class more often. The paper's 0.001 is for 1,203 categories; a patch
# shows several of 7 or 14 classes. Ours, and untried on real land.
_THRESHOLD = 0.1

Values = NDArray[np.float64]
Counts = Sequence[int] | NDArray[np.int64]


@dataclass(frozen=True)
class Balance:
    """How the loss of one level weighs classes; by default each labelled pixel counts alike."""

    class_weights: Sequence[float] | Values | None = None  # of the cross-entropy, by class
    adjustment: Values | None = None  # added to the logits that the cross-entropy gets, by class
    gamma: float = 0.0  # exponent of the focal loss; 0: cross-entropy


UNWEIGHTED = Balance()


@dataclass(frozen=True)
class Weighting:
    """One value of the axis ``weighting``."""

    description: str  # for tables and model cards
    balance: Callable[[Mapping[str, Any]], Balance] = lambda level: UNWEIGHTED  # of a level in ``statistics.json``
    resampled: bool = False  # whether patches are drawn by repeat_factors


def inverse_root(counts: Counts) -> Values:
    """Return 1 / √frequency, at most 30 times the smallest, with mean 1 over the classes present: (classes,).

    The root is that of Mahajan et al. 2018, ECCV ("Exploring the limits of weakly supervised pretraining"), who sample
    by it; here it weighs pixels. The cap is ours.
    """
    pixels = np.asarray(counts)
    present = pixels > 0
    weights = np.zeros(len(pixels))
    weights[present] = np.sqrt(pixels.max() / pixels[present])  # the commonest class has 1
    return _mean_one(np.minimum(weights, _CAP), present)


def effective(counts: Counts) -> Values:
    """Return 1 / effective number of samples (1 − βⁿ) / (1 − β), with mean 1 over the classes present: (classes,).

    Y. Cui et al. 2019, CVPR, "Class-balanced loss based on effective number of samples", with β = (N − 1) / N. Their N
    of at most 10,000 is for images; on millions of pixels it would weigh all classes alike. Here N is the mean number
    of pixels of the present classes: classes beyond it count about alike, rarer ones nearly by inverse frequency.
    """
    pixels = np.asarray(counts)
    present = pixels > 0
    beta = 1 - present.sum() / pixels.sum()
    weights = np.zeros(len(pixels))
    weights[present] = 1 / -np.expm1(pixels[present] * np.log(beta))  # a power of nearly 1 would lose digits
    return _mean_one(weights, present)


def log_prior(counts: Counts) -> Values:
    """Return the log frequency, which is added to the logits in training alone: (classes,), all finite.

    A. K. Menon et al. 2021, ICLR, "Long-tail learning via logit adjustment", equation 10 with τ = 1.
    """
    pixels = np.asarray(counts)
    present = pixels > 0
    return np.asarray(np.log(np.where(present, pixels, pixels[present].min()) / pixels.sum()))


def repeat_factors(present: NDArray[np.bool_]) -> Values:
    """Return how often to draw each patch, at least 1: the largest max(1, √(0.1 / f)) of its classes.

    A. Gupta, P. Dollár and R. Girshick 2019, CVPR, "LVIS: A dataset for large vocabulary instance segmentation".

    Args:
        present: which classes a patch holds, (patches, classes); f is the share of patches with a class.
    """
    share = present.mean(0)
    of_class = np.maximum(1, np.sqrt(_THRESHOLD / np.maximum(share, 1 / len(present))))
    return np.asarray(np.where(present, of_class, 1).max(1))


def draw_shares(weighting: str, store: Store, rows: NDArray[np.int64], level: str, classes: int) -> Values | None:
    """Return the probability of each patch in ``rows`` at a draw, (rows,); None where each comes once per epoch.

    ``classes`` is how many the level has.
    """
    if not WEIGHTINGS[weighting].resampled:
        return None
    masks = np.asarray(store.masks)[:, store.layer(level)]
    factors = repeat_factors(np.array([np.bincount(masks[row].ravel(), minlength=256)[:classes] > 0 for row in rows]))
    return np.asarray(factors / factors.sum())


def _mean_one(weights: Values, present: NDArray[np.bool_]) -> Values:
    return np.asarray(weights / weights[present].mean())


WEIGHTINGS: dict[str, Weighting] = {
    "nw": Weighting("none"),
    "w": Weighting("published class weights, 1 / frequency", lambda level: Balance(level["class_weights"])),
    "sqrt": Weighting("class weights, 1 / √frequency", lambda level: Balance(inverse_root(level["counts"]))),
    "effective": Weighting("class weights, effective number", lambda level: Balance(effective(level["counts"]))),
    "logit": Weighting("logit adjustment", lambda level: Balance(adjustment=log_prior(level["counts"]))),
    "focal": Weighting("focal loss", lambda level: Balance(gamma=_GAMMA)),
    "rare": Weighting("patches with rare classes drawn more often", resampled=True),
}
"""By name of the axis. ``focal`` is T.-Y. Lin et al. 2017, ICCV, see :func:`losses.focal`."""
