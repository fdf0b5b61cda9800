"""The bootstrap over units, patches or whole groups of them: how far a score would move on other test patches.

Sources: B. Efron, "Bootstrap methods: another look at the jackknife", The Annals of Statistics 7 (1979), 1–26;
B. Efron, "Better bootstrap confidence intervals", Journal of the American Statistical Association 82 (1987), 171–185;
T. C. Hesterberg, "What teachers should know about the bootstrap", The American Statistician 69 (2015), 371–386, of the
factor for few units. What the intervals cover in simulation is in docs/intervals.md; the spread between trainings
(seeds) is not in them.
"""

import math
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cerraseg.evaluation.metrics import DECIMALS, Vector, class_scores, ratio

Name = TypeVar("Name", bound=Hashable)

DRAWS = 1_000
"""Draws for an interval."""

SEED = 666
MANY = 50
"""Units below which tables say that intervals are too narrow."""

SCORES = ("macro_f1", "miou", "accuracy")
"""The scores of :func:`scores`, in its order."""

COVERAGE = Path(__file__).with_name("assets") / "coverage.csv"
"""Share of the intervals that held the true macro F1 in simulation, by what is drawn; `make intervals` writes it."""

_Z = 1.96  # standard errors to either end of a 95 % interval
_MOST_DRAWS = 50_000

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


def by_group(confusions: NDArray[np.integer], groups: ArrayLike | None) -> NDArray[np.integer]:
    """Sum counts ``(N, ...)`` of patches by group, ``(G, ...)``; without groups, each patch is a unit of its own."""
    if groups is None:
        return confusions
    member = np.unique(np.asarray(groups), return_inverse=True)[1]
    summed = np.zeros((member.max(initial=-1) + 1, *confusions.shape[1:]), np.int64)
    np.add.at(summed, member, confusions)
    return summed


def coverage(drawn: str, units: int) -> float:
    """Return the share of 95 % intervals of so many units that hold the true macro F1, by :data:`COVERAGE`.

    ``drawn`` is ``patches``, ``groups`` or, of patches that are alike in groups, ``patches of groups``. Between two
    simulated numbers of units, their logarithm counts.
    """
    table = pd.read_csv(COVERAGE, index_col="drawn").loc[[drawn]]
    return round(float(np.interp(math.log(units), np.log(table["units"]), table["macro_f1"])), 3)


def note(drawn: str, units: int) -> str:
    """Tell what intervals over so many ``patches`` or ``groups`` of the split are worth, for tables and pages."""
    if units < 2:
        return f"{units} of the {drawn} shows no spread, so that there is no interval"
    share, least = coverage(drawn, units), coverage(drawn, 1)  # which is that of the fewest simulated
    held = f"{'at most ' * (share == least)}{share:.0%} held the true macro F1"
    found = f"95 % bootstrap interval over {units:,} {drawn}, of which {held}"
    alike = f", {coverage('patches of groups', units):.0%} where neighbours are alike" if drawn == "patches" else ""
    narrow = f": too narrow, as are all over less than {MANY}" if units < MANY else ""
    return f"{found} in simulation (of 95 %){alike}{narrow}"


def intervals(values: Vector, statistic: Callable[[Vector], Vector]) -> Vector:
    """Compute the 95 % interval, ``(2, K)``, of a statistic of the sum of ``values`` ``(N, M)`` over N units.

    ``statistic`` maps sums ``(n, M)`` to ``(n, K)``. NaN from fewer than two units. The draws depend on N and
    :data:`SEED` only: those of two scenarios on the same units, in one order, are paired.
    """
    total = values.sum(axis=0)
    return bca(statistic(draw_sums(values)), statistic(total[None])[0], statistic(total - values), reach(len(values)))


def score_intervals(units: NDArray[np.integer]) -> dict[str, list[float] | None]:
    """Compute the 95 % intervals of macro F1, mIoU and accuracy from counts ``(N, classes, classes)`` of N units."""
    ends = intervals(margins(units), scores)
    pairs = zip(SCORES, np.round(ends.T, DECIMALS), strict=True)
    return {name: pair.tolist() if np.isfinite(pair).all() else None for name, pair in pairs}


def class_intervals(units: NDArray[np.integer]) -> tuple[Vector, Vector]:
    """Compute the 95 % intervals of F1 and IoU of every class, each ``(2, classes)``, from 0 to 1."""
    f1, iou = np.split(intervals(margins(units), lambda sums: np.hstack(class_scores(*np.split(sums, 2, 1)))), 2, 1)
    return f1, iou


def margins(units: NDArray[np.integer]) -> Vector:
    """Sum up what the scores need of each unit, ``(N, 2 × classes)``: hits, then true plus predicted pixels."""
    pixels = units.sum(axis=1, dtype=np.int64) + units.sum(axis=2, dtype=np.int64)
    return np.concatenate([units.diagonal(axis1=1, axis2=2), pixels], axis=1).astype(np.float64)


def scores(sums: Vector) -> Vector:
    """Compute the :data:`SCORES`, ``(n, 3)``, from sums of :func:`margins` ``(n, 2 × classes)``."""
    hits, pixels = np.split(sums, 2, axis=1)
    f1, iou = class_scores(hits, pixels)
    return np.stack([f1.mean(axis=1), iou.mean(axis=1), ratio(2 * hits.sum(axis=1), pixels.sum(axis=1))], axis=1)


def bca(drawn: Vector, value: Vector, left_out: Vector, z: float) -> Vector:
    """Compute bias-corrected and accelerated intervals, ``(2, K)`` (Efron 1987).

    Args:
        drawn: the statistic on draws ``(draws, K)``.
        value: on all units, ``(K,)``.
        left_out: on all but one, for each of the N units ``(N, K)``: their skewness is the acceleration.
        z: standard errors to either end, :func:`reach`.
    """
    if len(left_out) < 2:
        return np.full((2, drawn.shape[1]), np.nan)
    normal, count = NormalDist(), len(drawn)
    below = np.count_nonzero(drawn < value, axis=0) + np.count_nonzero(drawn == value, axis=0) / 2
    apart = left_out.mean(axis=0) - left_out
    skewness = ratio((apart**3).sum(axis=0), 6 * (apart**2).sum(axis=0) ** 1.5)
    ends = []
    for column, share, skew in zip(drawn.T, np.clip(below, 0.5, count - 0.5) / count, skewness, strict=True):
        bias = normal.inv_cdf(share)
        shifted = (bias + (bias + end) / max(1e-9, 1 - skew * (bias + end)) for end in (-z, z))
        ends.append(np.quantile(column, [normal.cdf(end) for end in shifted]))
    return np.transpose(ends)


def reach(units: int) -> float:
    """Return the standard errors to either end of a 95 % interval of N units: Student's t times √(N / (N − 1)).

    The quantile is that of N − 1 degrees of freedom, by the first terms of its Cornish–Fisher expansion. Resampling N
    units shows a deviation that is too small by the root, and the normal quantile knows nothing of their number.
    """
    free = max(units - 1, 1)
    terms = (
        (_Z**3 + _Z) / 4,
        (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / 96,
        (3 * _Z**7 + 19 * _Z**5 + 17 * _Z**3 - 15 * _Z) / 384,
    )
    return math.sqrt(1 + 1 / free) * (_Z + sum(term / free**power for power, term in enumerate(terms, 1)))


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


def compare(difference: float, drawn: Vector, left_out: Vector) -> Comparison:
    """Compare a pair by its ``difference``, paired draws of it ``(draws,)``, and it on all but one unit, ``(N,)``.

    The two-sided p-value is twice the share of draws whose difference has the other sign or is 0, at most 1. One is
    added to numerator and denominator, so that p is at least ``2 / (draws + 1)``. A single unit, whose draws are all
    alike, shows nothing: its p is 1.
    """
    alike = len(left_out) < 2
    other_side = len(drawn) if alike else min(np.count_nonzero(drawn <= 0), np.count_nonzero(drawn >= 0))
    low, high = bca(drawn[:, None], np.array([difference]), left_out[:, None], reach(len(left_out)))[:, 0].tolist()
    return Comparison(difference, low, high, min(1.0, 2 * (other_side + 1) / (len(drawn) + 1)))


def compare_all(
    entrants: Mapping[Name, Sequence[NDArray[np.integer]]], matches: Sequence[tuple[Name, Name]]
) -> list[Comparison]:
    """Compare the macro F1 of entrants, all scored on the same N units in one order, in the given ``matches``.

    Args:
        entrants: name → counts ``(N, classes, classes)`` of each of its seeds, over which score and draws are averaged.
        matches: pairs of names; :func:`draws_for` gives the number of draws for so many.
    """
    if not matches:
        return []
    parts = [margins(seed) for entrant in entrants.values() for seed in entrant]
    stacked, ends = np.concatenate(parts, axis=1), np.cumsum([part.shape[1] for part in parts])[:-1]

    def macro_f1(sums: Vector) -> dict[Name, Vector]:
        """Compute each entrant's mean macro F1 over its seeds from sums ``(n, all margins)``."""
        of_seeds = iter(np.split(sums, ends, axis=1))
        return {
            name: np.mean([scores(next(of_seeds))[:, 0] for _ in entrant], axis=0) for name, entrant in entrants.items()
        }

    totals = stacked.sum(axis=0)
    value, left_out = macro_f1(totals[None]), macro_f1(totals - stacked)
    blocks = [macro_f1(times @ stacked) for times in times_drawn(len(stacked), draws_for(len(matches)))]
    drawn = {name: np.concatenate([block[name] for block in blocks]) for name in value}
    return [
        compare(float(value[one][0] - value[other][0]), drawn[one] - drawn[other], left_out[one] - left_out[other])
        for one, other in matches
    ]


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
