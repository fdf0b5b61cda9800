"""Weightings: how a scenario treats rare classes, in the loss or in how often a patch is drawn.

Counts are pixels of the training split by class id. A class without any gets the class weight 0, as in the published
weighting, and the prior of the rarest class that is there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerraseg.core.taxonomy import LEVELS
from cerraseg.data.packed import Store

CAP = 30.0
"""Largest over smallest class weight of ``sqrt``. Ours: in CerraData-4MM the root alone gives over 70."""

TAU = 1.0
"""Factor of the log prior in ``logit``; 1 is the consistent choice of the paper."""

GAMMA = 2.0
"""Exponent of ``focal``, the paper's best."""

THRESHOLD = 0.1
"""Share of the patches below which ``rare`` draws a class more often. The paper's 0.001 is for 1,203 categories of
which an image shows a few; a patch shows several of 7 or 14 classes, so that rare ones are those of less than a tenth.
Ours, and untried on real land."""

Values = NDArray[np.float64]
Counts = Sequence[int] | NDArray[np.int64]


@dataclass(frozen=True)
class Balance:
    """How the loss of one level weighs classes; by default each labelled pixel counts alike.

    Attributes:
        class_weights: of the cross-entropy, by class id.
        adjustment: added to the logits that the cross-entropy gets, by class id.
        gamma: exponent of the focal loss; 0: cross-entropy.
    """

    class_weights: Sequence[float] | Values | None = None
    adjustment: Values | None = None
    gamma: float = 0.0


UNWEIGHTED = Balance()
"""Each labelled pixel counts alike."""


@dataclass(frozen=True)
class Weighting:
    """One value of the axis ``weighting``.

    Attributes:
        description: a few words for tables and model cards.
        balance: from a level's entry in ``statistics.json`` (``counts``, ``class_weights``) to that level's balance.
        resampled: whether patches are drawn by :func:`repeat_factors`.
    """

    description: str
    balance: Callable[[Mapping[str, Any]], Balance] = lambda level: UNWEIGHTED
    resampled: bool = False


def inverse_root(counts: Counts, cap: float = CAP) -> Values:
    """Return 1 / √frequency, at most ``cap`` times the smallest, with mean 1 over the classes present: (classes,).

    The root is that of Mahajan et al. 2018, ECCV ("Exploring the limits of weakly supervised pretraining"), after
    Mikolov et al. 2013, NeurIPS, who sample words by it; here it weighs pixels. The cap is ours.
    """
    pixels = np.asarray(counts)
    present = pixels > 0
    weights = np.zeros(len(pixels))
    weights[present] = np.sqrt(pixels.max() / pixels[present])  # the commonest class has 1
    return _mean_one(np.minimum(weights, cap), present)


def effective(counts: Counts, beta: float | None = None) -> Values:
    """Return 1 / effective number of samples (1 − βⁿ) / (1 − β), with mean 1 over the classes present: (classes,).

    Y. Cui et al. 2019, CVPR, "Class-balanced loss based on effective number of samples", with β = (N − 1) / N, where N
    is how many distinct samples a class can have. Their β of at most 0.9999 is for thousands of images; on millions of
    pixels it would weigh all classes alike. By default N is the mean number of pixels of the present classes: classes
    beyond it count about alike, rarer ones nearly by inverse frequency, and twice the patches change nothing.
    """
    pixels = np.asarray(counts)
    present = pixels > 0
    if beta is None:
        beta = 1 - present.sum() / pixels.sum()
    weights = np.zeros(len(pixels))
    if beta == 0:
        weights[present] = 1
    else:  # 1 − βⁿ without the digits that a power of nearly 1 loses
        weights[present] = 1 / -np.expm1(pixels[present] * np.log(beta))
    return _mean_one(weights, present)


def log_prior(counts: Counts, tau: float = TAU) -> Values:
    """Return ``tau`` · log frequency, which is added to the logits in training alone: (classes,), all finite.

    A. K. Menon et al. 2021, ICLR, "Long-tail learning via logit adjustment", equation 10.
    """
    pixels = np.asarray(counts)
    present = pixels > 0
    return np.asarray(tau * np.log(np.where(present, pixels, pixels[present].min()) / pixels.sum()))


def repeat_factors(present: NDArray[np.bool_], threshold: float = THRESHOLD) -> Values:
    """Return how often to draw each patch: the largest max(1, √(t / f)) of its classes.

    A. Gupta, P. Dollár and R. Girshick 2019, CVPR, "LVIS: A dataset for large vocabulary instance segmentation".

    Args:
        present: which classes a patch holds, (patches, classes); f is the share of patches with a class.
        threshold: t.

    Returns:
        (patches,), at least 1, also for a patch without a label.
    """
    share = present.mean(0)
    of_class = np.maximum(1, np.sqrt(threshold / np.maximum(share, 1 / len(present))))
    return np.asarray(np.where(present, of_class, 1).max(1))


def draw_shares(weighting: str, store: Store, rows: NDArray[np.int64], level: str) -> Values | None:
    """Return the probability of each patch in ``rows`` at a draw, (rows,); None where each comes once per epoch.

    Raises:
        DataError: if the store lacks the level.
    """
    if not WEIGHTINGS[weighting].resampled:
        return None
    factors = repeat_factors(held_classes(store, rows, level))
    return np.asarray(factors / factors.sum())


def held_classes(store: Store, rows: NDArray[np.int64], level: str) -> NDArray[np.bool_]:
    """Return which classes of ``level`` the patches in ``rows`` hold, (rows, classes)."""
    masks, classes = np.asarray(store.masks)[:, store.layer(level)], len(LEVELS[level])
    found = [np.bincount(masks[row].ravel(), minlength=256)[:classes] > 0 for row in rows]
    return np.array(found, bool).reshape(len(rows), classes)


def _mean_one(weights: Values, present: NDArray[np.bool_]) -> Values:
    return np.asarray(weights / weights[present].mean())


WEIGHTINGS: dict[str, Weighting] = {
    "nw": Weighting("none"),
    "w": Weighting("published class weights, 1 / frequency", lambda level: Balance(level["class_weights"])),
    "sqrt": Weighting("class weights, 1 / √frequency", lambda level: Balance(inverse_root(level["counts"]))),
    "effective": Weighting("class weights, effective number", lambda level: Balance(effective(level["counts"]))),
    "logit": Weighting("logit adjustment", lambda level: Balance(adjustment=log_prior(level["counts"]))),
    "focal": Weighting("focal loss", lambda level: Balance(gamma=GAMMA)),
    "rare": Weighting("patches with rare classes drawn more often", resampled=True),
}
"""By name of the axis. ``focal`` is T.-Y. Lin et al. 2017, ICCV, see :func:`losses.focal`."""
