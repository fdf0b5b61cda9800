"""One image from those of many dates: arithmetic on arrays of one band, (dates, H, W)."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


def median(values: Floats) -> Floats:
    """Return the median of the dates with data, NaN where there is none; of an even number, the middle two's mean."""
    ordered = np.sort(values, axis=0)  # NaN come last
    count = np.isfinite(values).sum(axis=0)
    middle = np.stack([np.maximum(count - 1, 0) // 2, count // 2]).clip(max=len(values) - 1)
    low, high = np.take_along_axis(ordered, middle, axis=0)
    return np.where(count > 0, (low + high) / 2, np.float32(np.nan))


def mean(values: Floats) -> Floats:
    """Return the mean of the dates with data, NaN where there is none."""
    valid = np.isfinite(values)
    count = valid.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(valid, values, 0).sum(axis=0, dtype=np.float64) / count, np.float32)


def mean_db(values: Floats) -> Floats:
    """Return the power whose decibels are the mean of the dates' decibels: speckle that shines once weighs less."""
    with np.errstate(invalid="ignore", divide="ignore"):
        decibels = np.where(values > 0, np.log10(values), np.nan).astype(np.float32)
    return np.asarray(10 ** mean(decibels), np.float32)


def first(values: Floats) -> Floats:
    """Return the first date with data: of dates in the order of their cloud cover, that with the least cloud."""
    valid = np.isfinite(values)
    return np.asarray(np.take_along_axis(values, valid.argmax(axis=0)[None], axis=0)[0])


METHODS: dict[str, Callable[[Floats], Floats]] = {
    "median": median,
    "mean": mean,
    "mean_db": mean_db,
    "least_cloud": first,
}
"""Name → how dates are composed."""

UNITS: dict[str, Callable[[Floats], Floats]] = {
    "reflectance": lambda values: values,
    "dn": lambda values: 10_000 * values,
    "dn_offset": lambda values: 10_000 * values + 1_000,
    "power": lambda values: values,
    "db": lambda values: 10 * np.log10(values),
}
"""Name → values from reflectance (0 to 1) or linear power."""


def grown(unusable: Bools, pixels: int) -> Bools:
    """Grow what is not to be used, (H, W), by so many pixels in all directions, diagonals included."""
    for axis in (0, 1):
        rim = [(pixels, pixels) if axis == each else (0, 0) for each in (0, 1)]
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(unusable, rim), 2 * pixels + 1, axis)
        unusable = np.asarray(windows.any(axis=-1))
    return unusable
