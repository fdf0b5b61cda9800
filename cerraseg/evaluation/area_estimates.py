"""Mapped area of each class and, from pixels with known truth, its estimated area and accuracies.

Source: P. Olofsson et al., "Good practices for estimating area and assessing accuracy of land change", Remote Sensing
of Environment 148 (2014), 42–57. Its error matrix has the map in rows; the counts here have the truth in rows.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cerraseg.core.files import atomic_write
from cerraseg.core.taxonomy import LandCover
from cerraseg.evaluation.areas import mapped_areas
from cerraseg.evaluation.bootstrap import draw_sums, interval
from cerraseg.evaluation.metrics import Vector

ASSUMPTION = (
    "The estimates take the checked pixels of each mapped class to be a random sample of all ground mapped as that "
    "class. For a mosaic whose test patches were drawn at random from it this nearly holds. For a scene elsewhere it "
    "does not: the figures then carry the error rates of the test patches over to ground that nobody checked. A "
    "reference mask samples only where it lies. The ± also takes pixels to be independent of each other; those of one "
    "patch are alike, so it is far too narrow. The interval from low to high comes from drawing whole patches or "
    "blocks anew (bootstrap) and is the one to quote; neighbouring patches are alike too, so it is a lower bound."
)
"""The assumptions of the estimates, for the page."""

REFERENCE_MASK = "reference mask"
TEST_PATCHES = "test patches"
"""Origins of the samples."""

_FEWEST_BLOCKS = 2  # of an interval: a single block drawn again shows no spread
_DECIMALS = {"hectares": 4, "share": 4, "adjusted": 4, "users": 6, "producers": 6}
_TYPES = {"id": "Int64", "name": "str", "pixels": "int64", "hectares": "float64", "share": "float64"}
_Z = 1.96  # standard errors to either end of a 95 % interval


class Estimates(NamedTuple):
    """Hectares and accuracies (0 to 1) of the classes, and the overall accuracy; NaN where undefined."""

    adjusted: Vector
    users: Vector
    producers: Vector
    overall: Vector


def estimate(confusion: ArrayLike, hectares: ArrayLike) -> tuple[Estimates, Estimates]:
    """Estimate error-adjusted areas and accuracies with standard errors from sampled pixels.

    The stratified estimator with the classes of the map as strata, and the standard errors of independent samples. What
    cannot be estimated is NaN: the user's accuracy of a class without samples and, if the map holds such a class, all
    but the other users' accuracies; the standard error of what depends on a class with one sample; everything of a
    class neither in the samples nor on the map.

    Args:
        confusion: counts of the sampled pixels ``(K, K)``, rows truth and columns map.
        hectares: the mapped areas ``(K,)``.

    Returns:
        Values and their standard errors: ``(K,)``, of the overall accuracy ``()``.
    """
    counts, mapped = np.asarray(confusion, np.float64), np.asarray(hectares, np.float64)
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
    of_adjusted = np.where(np.isnan(adjusted), np.nan, np.sqrt(own + others))
    return (
        Estimates(adjusted, users, producers, overall),
        Estimates(of_adjusted, np.sqrt(variances.diagonal()), of_producers, of_overall),
    )


def intervals(confusions: ArrayLike, hectares: ArrayLike) -> Estimates:
    """Compute 95 % bootstrap intervals ``(2, ...)`` of :func:`estimate` from counts ``(N, K, K)`` of N blocks.

    Pixels of one patch are alike, so that the standard errors are far too small; here whole blocks are drawn as in
    :func:`bootstrap.draws`. Where a draw holds no sample of a mapped class, its ground may be of any class: it is left
    out of the lower end and counted in full for the upper one. NaN where fewer than two blocks hold the class (on the
    map for the user's accuracy, in truth for the producer's).
    """
    counts, mapped = np.asarray(confusions, np.float64), np.asarray(hectares, np.float64)
    classes = len(mapped)
    if len(counts) < _FEWEST_BLOCKS or not mapped.any():
        nothing = np.full((2, classes), np.nan)
        return Estimates(nothing, nothing, nothing, nothing[:, 0])
    drawn = draw_sums(counts.reshape(len(counts), -1)).reshape(-1, classes, classes)
    adjusted, users, producers, overall = (interval(*bounds) for bounds in _bounds(drawn, mapped))
    few_mapped, few_true = (np.count_nonzero(counts.sum(axis=axis), axis=0) < _FEWEST_BLOCKS for axis in (1, 2))
    adjusted[:, ~_known(counts.sum(axis=0), mapped)] = np.nan
    users[:, few_mapped] = np.nan
    producers[:, few_true] = np.nan
    return Estimates(adjusted, users, producers, overall[:, 0])


def _bounds(counts: Vector, mapped: Vector) -> tuple[Vector, Vector, Vector, Vector]:
    """Compute the lowest and highest values of draws ``(draws, K, K)``, in the order of :class:`Estimates`."""
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


def _known(counts: Vector, mapped: Vector) -> NDArray[np.bool_]:
    return np.asarray((counts.sum(axis=0) + counts.sum(axis=1) + mapped) > 0)


def area_table(
    maps: Sequence[Path], counts: NDArray[np.integer] | None, classes: Sequence[LandCover], basis: str
) -> pd.DataFrame:
    """Tabulate mapped and estimated areas: one row per class of the legend, and a row ``Total`` without id.

    Args:
        maps: class maps, whose ``pixels``, ``hectares`` and ``share`` (percent of the mapped area) are counted by
            :func:`mapped_areas`.
        counts: ``(N, K, K)`` (rows truth, columns map) of N patches or blocks; None leaves the estimates out.
        classes: of the maps.
        basis: where the counts come from, :data:`TEST_PATCHES` or :data:`REFERENCE_MASK`.

    Returns:
        With counts also ``basis``, ``sample_blocks`` and ``sample_pixels`` (blocks and pixels that the map gives the
        class), ``adjusted_hectares``, ``users_accuracy`` and ``producers_accuracy`` (0 to 1), each with ``_ci95``
        (± 1.96 standard errors) and ``_low`` and ``_high`` (95 % bootstrap over the blocks); NaN where undefined. The
        total of both accuracies is the overall accuracy.

    Raises:
        DataError: as :func:`mapped_areas` does.
    """
    pixels, hectares = mapped_areas(maps, classes)
    total = hectares.sum()
    areas = np.append(hectares, total)
    columns = {
        "id": pd.array([*(entry.id for entry in classes), None], dtype="Int64"),
        "name": [*(entry.name for entry in classes), "Total"],
        "pixels": np.append(pixels, pixels.sum()),
        "hectares": areas,
        "share": 100 * areas / total if total else np.full(len(areas), np.nan),
    }
    if counts is not None:
        by_block = counts.sum(axis=1, dtype=np.int64)
        columns |= {
            "basis": [basis] * len(areas),
            "sample_blocks": np.append(np.count_nonzero(by_block, axis=0), len(counts)),
            "sample_pixels": np.append(by_block.sum(axis=0), by_block.sum()),
            **_estimates(counts, hectares),
        }
    return pd.DataFrame(columns)


def _estimates(counts: NDArray[np.integer], hectares: Vector) -> dict[str, Vector]:
    values, errors = estimate(counts.sum(axis=0, dtype=np.int64), hectares)
    ends = intervals(counts, hectares)
    # Ground that one class loses another gains: the sum has no error.
    whole = hectares.sum() if np.isfinite(values.adjusted).any() else np.nan
    overall = (values.overall, errors.overall, *ends.overall)
    totals = {"adjusted_hectares": (whole, *[np.nan] * 3), "users_accuracy": overall, "producers_accuracy": overall}
    columns: dict[str, Vector] = {}
    for name, total in totals.items():
        stem = name.partition("_")[0]
        of_classes = getattr(values, stem), getattr(errors, stem), *getattr(ends, stem)
        names = name, f"{stem}_ci95", f"{stem}_low", f"{stem}_high"
        columns |= {key: np.append(each, last) for key, each, last in zip(names, of_classes, total, strict=True)}
        columns[f"{stem}_ci95"] *= _Z
    return columns


def write_area_table(path: str | Path, areas: pd.DataFrame) -> None:
    """Write a :func:`area_table` as CSV: hectares and percent with four decimals, accuracies with six, NaN empty."""
    shown = areas.copy()
    for column in map(str, shown.select_dtypes("float")):
        decimals = _DECIMALS[column.partition("_")[0]]
        shown[column] = [None if pd.isna(value) else f"{value:.{decimals}f}" for value in areas[column]]
    with atomic_write(path) as part:
        shown.to_csv(part, index=False, lineterminator="\n")


def read_area_table(path: str | Path) -> pd.DataFrame:
    """Read a table of :func:`write_area_table`."""
    return pd.read_csv(path, dtype=_TYPES)
