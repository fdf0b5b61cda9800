"""The table of areas: mapped hectares of each class, and beside them what pixels with known truth say of them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cerraseg.core.errors import DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.taxonomy import LandCover
from cerraseg.evaluation.area_estimates import estimate, intervals
from cerraseg.evaluation.areas import mapped_areas
from cerraseg.evaluation.metrics import Counts, Vector

ASSUMPTION = (
    "The estimates take the checked pixels of each mapped class to be a random sample of all ground mapped as that "
    "class. For a mosaic whose test patches were drawn at random from it this nearly holds. For a scene elsewhere it "
    "does not: the figures then carry the error rates of the test patches over to ground that nobody checked. A "
    "reference mask samples only where it lies. The ± also takes pixels to be independent of each other; those of one "
    "patch are alike, so it is far too narrow. The interval from low to high comes from drawing whole patches or "
    "blocks anew (bootstrap) and is the one to quote; neighbouring patches are alike too, so it is a lower bound."
)
"""What the estimates rest on, in plain words, for the page and the documentation."""

REFERENCE_MASK = "reference mask"
TEST_PATCHES = "test patches"
"""Where samples come from."""

_DECIMALS = {"hectares": 4, "share": 4, "adjusted": 4, "users": 6, "producers": 6}
_TYPES = {"id": "Int64", "name": "str", "pixels": "int64", "hectares": "float64", "share": "float64"}
_Z = 1.96  # standard errors to either end of a 95 % interval


def area_table(
    maps: Sequence[Path], counts: NDArray[np.integer] | None, classes: Sequence[LandCover], basis: str
) -> pd.DataFrame:
    """Tabulate mapped and estimated areas: one row per class in id order, and a row ``Total`` without id.

    Args:
        maps: class maps, whose ``pixels``, ``hectares`` and ``share`` (percent of the mapped area) are counted by
            :func:`mapped_areas`.
        counts: ``(N, K, K)`` (rows truth, columns map) of N patches or blocks; None leaves the estimates out.
        classes: of the maps.
        basis: where the counts come from, :data:`TEST_PATCHES` or :data:`REFERENCE_MASK`.

    Returns:
        With counts also ``basis``, ``sample_blocks`` and ``sample_pixels`` (blocks and pixels that the map gives the
        class), ``adjusted_hectares``, ``users_accuracy`` and ``producers_accuracy`` (0 to 1), each with ``_ci95``
        (± 1.96 standard errors) and ``_low`` and ``_high`` (95 % bootstrap over the blocks); NaN where undefined, see
        :mod:`cerraseg.evaluation.area_estimates`. The total of both accuracies is the overall accuracy.

    Raises:
        DataError: as :func:`mapped_areas` does, and if ``counts`` do not fit the classes.
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
        columns |= {"basis": [basis] * len(areas), **_samples(counts), **_estimates(counts, hectares)}
    return pd.DataFrame(columns)


def _samples(counts: NDArray[np.integer]) -> dict[str, Counts]:
    by_block = counts.sum(axis=1, dtype=np.int64)
    return {
        "sample_blocks": np.append(np.count_nonzero(by_block, axis=0), len(counts)),
        "sample_pixels": np.append(by_block.sum(axis=0), by_block.sum()),
    }


def _estimates(counts: NDArray[np.integer], hectares: Vector) -> dict[str, Vector]:
    point, ends = estimate(counts.sum(axis=0, dtype=np.int64), hectares), intervals(counts, hectares)
    # What the classes lose to each other stays in the sum, which has no error.
    whole = hectares.sum() if np.isfinite(point.adjusted.value).any() else np.nan
    overall = (point.overall.value, point.overall.error, *ends.overall)
    totals = {"adjusted_hectares": (whole, *[np.nan] * 3), "users_accuracy": overall, "producers_accuracy": overall}
    columns: dict[str, Vector] = {}
    for (name, total), (value, error), (low, high) in zip(totals.items(), point[:3], ends[:3], strict=True):
        stem = name.partition("_")[0]
        values = {name: value, f"{stem}_ci95": error, f"{stem}_low": low, f"{stem}_high": high}
        columns |= {key: np.append(each, last) for (key, each), last in zip(values.items(), total, strict=True)}
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
    """Read what :func:`write_area_table` wrote.

    Raises :class:`DataError` if the file cannot be read as such a table.
    """
    try:
        areas = pd.read_csv(path, dtype=_TYPES)
        if missing := _TYPES.keys() - set(areas):
            raise ValueError(f"no column {', '.join(sorted(missing))}")
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as a table of areas ({error}); expected the CSV of the areas step: run it again."
        ) from error
    return areas
