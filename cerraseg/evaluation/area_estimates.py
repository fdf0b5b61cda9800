"""Area and accuracy of each class, estimated from pixels whose truth is known, with the classes of the map as strata.

Source: P. Olofsson, G. M. Foody, M. Herold, S. V. Stehman, C. E. Woodcock and M. A. Wulder, "Good practices for
estimating area and assessing accuracy of land change", Remote Sensing of Environment 148 (2014), 42–57: the stratified
estimator, with the standard errors of independent samples. Its error matrix has the map in rows; the counts here have
the truth in rows, as everywhere in CerraSeg.

Pixels of one patch are alike, so that those standard errors are far too small. :func:`intervals` draws whole patches or
blocks instead (:mod:`cerraseg.evaluation.bootstrap`).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cerraseg.core.errors import DataError
from cerraseg.evaluation.bootstrap import times_drawn
from cerraseg.evaluation.metrics import Vector

FEWEST_BLOCKS = 2
"""One block drawn again and again shows no spread: an interval needs two."""


class Estimate(NamedTuple):
    """Values and their standard errors, of one shape; NaN where undefined."""

    value: Vector
    error: Vector


class Estimates(NamedTuple):
    """Hectares and accuracies (0 to 1) of the classes ``(K,)``, and the overall accuracy ``()``."""

    adjusted: Estimate
    users: Estimate
    producers: Estimate
    overall: Estimate


class Intervals(NamedTuple):
    """Lower and upper ends ``(2, K)``, of the overall accuracy ``(2,)``; NaN where undefined."""

    adjusted: Vector
    users: Vector
    producers: Vector
    overall: Vector


def estimate(confusion: ArrayLike, hectares: ArrayLike) -> Estimates:
    """Error-adjusted areas and accuracies with standard errors, from sampled pixels.

    ``confusion`` ``(K, K)`` counts them, rows truth and columns map; ``hectares`` ``(K,)`` are the mapped areas.

    What the samples cannot tell is NaN, never 0. The user's accuracy of a class without a sample is undefined. If the
    map holds ground of such a class, nobody knows what it is: it cannot be shared out, and every adjusted area, every
    producer's accuracy and the overall accuracy are undefined. A class with one sample on the map leaves the values,
    but no standard error of what depends on it. A class neither in the samples nor on the map has no estimates.

    Raises :class:`DataError` if the shapes do not fit or a number is negative.
    """
    counts, mapped = _checked(confusion, hectares, dimensions=2)
    samples = counts.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = counts / samples
        variances = rates * (1 - rates) / (samples - 1)
        users = rates.diagonal()
        # A class that is not on the map weighs nothing, even if its rates are undefined.
        areas = np.where(mapped > 0, mapped * rates, 0)
        spreads = np.where(mapped > 0, mapped**2 * variances, 0)
        adjusted = np.where(_known(counts, mapped), areas.sum(axis=1), np.nan)
        producers = areas.diagonal() / adjusted
        own = spreads.diagonal()
        others = np.where(np.eye(len(mapped), dtype=bool), 0, spreads).sum(axis=1)
        of_producers = np.sqrt((1 - producers) ** 2 * own + producers**2 * others) / adjusted
        overall = areas.diagonal().sum() / mapped.sum()
        of_overall = np.sqrt(own.sum()) / mapped.sum()
    return Estimates(
        Estimate(adjusted, np.where(np.isnan(adjusted), np.nan, np.sqrt(own + others))),
        Estimate(users, np.sqrt(variances.diagonal())),
        Estimate(producers, of_producers),
        Estimate(overall, of_overall),
    )


def intervals(confusions: ArrayLike, hectares: ArrayLike) -> Intervals:
    """95 % percentile intervals of :func:`estimate` from counts ``(N, K, K)`` of N patches or blocks drawn anew.

    The blocks are drawn as in :func:`bootstrap.draws`; the mapped areas stay. Where a draw leaves ground of a
    mapped class without a sample, that ground may be anything: it is left out of the lower end and counted in full for
    the upper one. So a class without any sample widens the areas by all of its ground. NaN where fewer than
    :data:`FEWEST_BLOCKS` blocks hold the class (on the map for the user's accuracy, in truth for the producer's).

    Raises :class:`DataError` if the shapes do not fit or a number is negative.
    """
    counts, mapped = _checked(confusions, hectares, dimensions=3)
    classes = len(mapped)
    if len(counts) < FEWEST_BLOCKS or not mapped.any():
        nothing = np.full((2, classes), np.nan)
        return Intervals(nothing, nothing, nothing, np.full(2, np.nan))
    flat = counts.reshape(len(counts), -1)
    drawn = [_bounds((times @ flat).reshape(-1, classes, classes), mapped) for times in times_drawn(len(flat))]
    adjusted, users, producers, overall = (
        _percentiles(np.concatenate(bounds, axis=1)) for bounds in zip(*drawn, strict=True)
    )
    few_mapped, few_true = (np.count_nonzero(counts.sum(axis=axis), axis=0) < FEWEST_BLOCKS for axis in (1, 2))
    adjusted[:, ~_known(counts.sum(axis=0), mapped)] = np.nan
    users[:, few_mapped] = np.nan
    producers[:, few_true] = np.nan
    return Intervals(adjusted, users, producers, overall[:, 0])


def _bounds(counts: Vector, mapped: Vector) -> tuple[Vector, Vector, Vector, Vector]:
    """Lowest and highest values of draws ``(draws, K, K)``, as :class:`Intervals` but ``(2, draws, K)`` each.

    The overall accuracy is ``(2, draws, 1)``.
    """
    samples = counts.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = counts / samples[:, None]
        users = rates.diagonal(axis1=1, axis2=2)
        unknown = np.where(samples > 0, 0, mapped)
        missing = unknown.sum(axis=1, keepdims=True)
        areas = np.where(samples[:, None] > 0, mapped * rates, 0)
        found, hits = areas.sum(axis=2), areas.diagonal(axis1=1, axis2=2)
        right = hits.sum(axis=1, keepdims=True)
        producers = np.stack([hits / (found + missing), (hits + unknown) / (found + unknown)])
    overall = np.stack([right, right + missing]) / mapped.sum()
    return np.stack([found, found + missing]), np.stack([users, users]), producers, overall


def _percentiles(bounds: Vector) -> Vector:
    """The 2.5 percentile of lower bounds and the 97.5 of upper ones: ``(2, draws, K)`` → ``(2, K)``, NaN left out."""
    ends = np.full((2, bounds.shape[2]), np.nan)
    for end, percent in enumerate((2.5, 97.5)):
        for place, values in enumerate(bounds[end].T):
            defined = values[~np.isnan(values)]
            if len(defined):
                ends[end, place] = np.percentile(defined, percent)
    return ends


def _known(counts: Vector, mapped: Vector) -> NDArray[np.bool_]:
    """Which classes ``(K,)`` the samples or the map hold."""
    known: NDArray[np.bool_] = (counts.sum(axis=0) + counts.sum(axis=1) + mapped) > 0
    return known


def _checked(confusion: ArrayLike, hectares: ArrayLike, dimensions: int) -> tuple[Vector, Vector]:
    counts, mapped = np.asarray(confusion), np.asarray(hectares, dtype=np.float64)
    if counts.ndim != dimensions or mapped.ndim != 1 or counts.shape[-2:] != 2 * mapped.shape:
        raise DataError(
            f"counts of shape {counts.shape} were given for the areas of {mapped.size} classes; expected one row and "
            "one column a class: take counts and map of one level."
        )
    if counts.min(initial=0) < 0 or not mapped.min(initial=0) >= 0:
        raise DataError(
            f"the lowest count is {counts.min(initial=0)} and the smallest area {mapped.min(initial=0)} ha; expected "
            "none below 0: count the pixels again."
        )
    return counts.astype(np.float64), mapped
