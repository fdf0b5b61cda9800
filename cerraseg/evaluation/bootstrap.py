"""The bootstrap over patches: how far a score would move on other test patches of the same kind.

Source: B. Efron, "Bootstrap methods: another look at the jackknife", The Annals of Statistics 7 (1979), 1–26. As
neighbouring patches are alike, the intervals are a lower bound; the spread between trainings (seeds) is not in them.
"""

import warnings
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cerraseg.evaluation.metrics import Vector, class_scores, ratio

Name = TypeVar("Name", bound=Hashable)

DRAWS = 1_000
"""Draws for an interval."""

SEED = 666
_MOST_DRAWS = 50_000
_SCORES = ("macro_f1", "miou", "accuracy")

_BLOCK = 2_000_000  # weights (draws × patches) held at once: 16 MB


class Comparison(NamedTuple):
    """A difference of two scores, the ends of its 95 % interval and its two-sided p-value."""

    difference: float
    low: float
    high: float
    p: float

    def reverse(self) -> "Comparison":
        """Return the same pair, second minus first."""
        return Comparison(-self.difference, -self.high, -self.low, self.p)


def draws(confusions: ArrayLike, count: int = DRAWS) -> dict[str, Vector]:
    """Compute macro F1, mIoU and accuracy on ``count`` draws, ``(count,)``, from counts ``(N, classes, classes)``.

    The draws depend on N and :data:`SEED` only: those of two scenarios on the same patches, in one order, are paired.
    """
    return paired_draws([confusions], count)[0]


def paired_draws(several: Iterable[ArrayLike], count: int = DRAWS) -> list[dict[str, Vector]]:
    """Compute :func:`draws` for several scenarios with one N in one pass."""
    margins = [_margins(np.asarray(confusions)) for confusions in several]
    ends = np.cumsum([margin.shape[1] for margin in margins])[:-1]
    stacked = np.concatenate(margins, axis=1)
    blocks = [
        [_scores(sums) for sums in np.split(times @ stacked, ends, axis=1)]
        for times in times_drawn(len(stacked), count)
    ]
    return [dict(zip(_SCORES, np.concatenate(drawn, axis=1), strict=True)) for drawn in zip(*blocks, strict=True)]


def class_draws(confusions: ArrayLike, count: int = DRAWS) -> tuple[Vector, Vector]:
    """Compute F1 and IoU of every class on the draws of :func:`draws`, each ``(count, classes)``, from 0 to 1."""
    hits, pixels = np.split(draw_sums(_margins(np.asarray(confusions)), count), 2, axis=1)
    return class_scores(hits, pixels)


def _margins(confusions: NDArray[np.integer]) -> Vector:
    """Sum up what the scores need of each patch, ``(N, 2 × classes)``: hits, then true plus predicted pixels."""
    pixels = confusions.sum(axis=1, dtype=np.int64) + confusions.sum(axis=2, dtype=np.int64)
    return np.concatenate([confusions.diagonal(axis1=1, axis2=2), pixels], axis=1).astype(np.float64)


def _scores(sums: Vector) -> Vector:
    """Compute the scores, ``(3, draws)``, from sums of margins ``(draws, 2 × classes)``."""
    hits, pixels = np.split(sums, 2, axis=1)
    f1, iou = class_scores(hits, pixels)
    return np.stack([f1.mean(axis=1), iou.mean(axis=1), ratio(2 * hits.sum(axis=1), pixels.sum(axis=1))])


def draw_sums(values: Vector, count: int = DRAWS) -> Vector:
    """Sum values ``(N, ...)`` of N patches or blocks over each draw, ``(count, ...)``: exact for whole numbers."""
    return np.concatenate([times @ values for times in times_drawn(len(values), count)])


def times_drawn(patches: int, count: int = DRAWS) -> Iterator[Vector]:
    """Yield blocks ``(draws, patches)`` of how often each patch is drawn: multinomial, equal chances, :data:`SEED`."""
    random = np.random.default_rng(SEED)
    rows = max(1, _BLOCK // patches)
    for start in range(0, count, rows):
        size = min(rows, count - start)
        drawn = random.integers(0, patches, (size, patches)) + patches * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * patches).reshape(size, patches).astype(np.float64)


def interval(lower: Vector, upper: Vector | None = None) -> Vector:
    """Compute the 95 % percentile interval, ``(2, ...)``, of draws ``(draws, ...)``; draws of NaN are left out.

    ``upper`` holds the draws for the upper end, where they are others than for the lower one.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of nothing but NaN, which the result then is too
        ends = zip((lower, lower if upper is None else upper), (2.5, 97.5), strict=True)
        return np.stack([np.nanpercentile(values, percent, axis=0) for values, percent in ends])


def compare(difference: float, first: Vector, second: Vector) -> Comparison:
    """Compare a pair by paired draws ``(draws,)``; ``difference`` is its first score minus the second.

    The two-sided p-value is twice the share of draws whose difference has the other sign or is 0, at most 1. One is
    added to numerator and denominator, so that p is at least ``2 / (draws + 1)``.
    """
    drawn = first - second
    other_side = min(np.count_nonzero(drawn <= 0), np.count_nonzero(drawn >= 0))
    low, high = interval(drawn).tolist()
    return Comparison(difference, low, high, min(1.0, 2 * (other_side + 1) / (len(drawn) + 1)))


def compare_all(
    entrants: Mapping[Name, Sequence[NDArray[np.integer]]], matches: Sequence[tuple[Name, Name]]
) -> list[Comparison]:
    """Compare the macro F1 of entrants, all scored on the same N patches in one order, in the given ``matches``.

    Args:
        entrants: name → counts ``(N, classes, classes)`` of each of its seeds, over which score and draws are averaged.
        matches: pairs of names; :func:`draws_for` gives the number of draws for so many.
    """
    if not matches:
        return []
    seeds = [seed for entrant in entrants.values() for seed in entrant]
    each = iter(paired_draws(seeds, draws_for(len(matches))))
    drawn, score = {}, {}
    for name, entrant in entrants.items():
        drawn[name] = np.mean([next(each)["macro_f1"] for _ in entrant], axis=0)
        score[name] = float(np.mean([_scores(_margins(seed).sum(axis=0, keepdims=True))[0] for seed in entrant]))
    return [compare(score[one] - score[other], drawn[one], drawn[other]) for one, other in matches]


def holm(p: ArrayLike) -> Vector:
    """Adjust p-values ``(pairs,)`` for their number, in their order.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6
    (1979), 65–70.
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)))
    return adjusted


def draws_for(pairs: int) -> int:
    """Return the draws with which :func:`holm` over ``pairs`` can reach 0.02 (0.05 from 500 to 1,250 pairs).

    From 500 pairs on, 50,000 draws bound the work.
    """
    return min(_MOST_DRAWS, max(DRAWS, 100 * pairs))
