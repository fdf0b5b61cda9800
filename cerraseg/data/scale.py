"""Tell values that are in other units than those that a model was trained on, from statistics alone.

Statistics of a sensor are band → mean, std, min, max, see :mod:`cerraseg.data.statistics`.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

Statistics = Mapping[str, Mapping[str, float]]
_Pairs = list[tuple[Mapping[str, float], Mapping[str, float]]]  # of each band: the values' statistics, and others

_FACTOR = 20.0  # of every band's mean: no ground is that much brighter in all bands
_FEW_BANDS = 4  # of a radar, at most
_FAR = 3.0  # standard deviations
_OUTSIDE = 0.05  # share of the pixels


def statistics_of(
    bands: Sequence[str], sample: NDArray[np.float32], trained: Statistics
) -> dict[str, dict[str, float]]:
    """Compute the statistics of a sample (bands, N), and ``outside``: the share far outside the range of training."""
    found = {}
    for band, values in zip(bands, sample, strict=True):
        lowest, highest, margin = (trained[band][key] for key in ("min", "max", "std"))
        outside = (values < lowest - _FAR * margin) | (values > highest + _FAR * margin)
        found[band] = {
            "mean": float(values.mean(dtype=float)),
            "std": float(values.std(dtype=float)),
            "min": float(values.min()),
            "max": float(values.max()),
            "outside": float(outside.mean()),
        }
    return found


def describe(ours: Statistics, trained: Statistics) -> str:
    """Return both statistics of each band as text: mean, and range in brackets."""
    return "; ".join(
        f"{band} {of['mean']:.4g} ({of['min']:.4g} to {of['max']:.4g}), training "
        "{mean:.4g} ({min:.4g} to {max:.4g})".format(**trained[band])
        for band, of in ours.items()
    )


def scale_fault(ours: Statistics, trained: Statistics) -> str | None:
    """Return why the bands of one sensor are certainly in other units than in training, in words, or None."""
    pairs = [(of, trained[band]) for band, of in ours.items()]
    for is_so, words in _KINDS:
        if is_so(pairs):
            return words.format("the values", "those of training")
        if is_so([(old, new) for new, old in pairs]):
            return words.format("those of training", "the values")
    return None


def scale_warning(ours: Statistics, trained: Statistics) -> str | None:
    """Return in words which bands lie far from those of training, as a matter of degree, or None."""
    far = [band for band, of in ours.items() if abs(of["mean"] - trained[band]["mean"]) > _FAR * trained[band]["std"]]
    outside = [band for band, of in ours.items() if of.get("outside", 0) > _OUTSIDE]
    told = {
        f"the means of {', '.join(far)} lie more than {_FAR:g} standard deviations from those of training": far,
        f"over {_OUTSIDE:.0%} of the values of {', '.join(outside)} lie far outside the range of training": outside,
    }
    return "; ".join(words for words, bands in told.items() if bands) or None


def _decibels(pairs: _Pairs) -> bool:
    return all(other["min"] >= 0 and of["mean"] < 0 for of, other in pairs)


def _eight_bit(pairs: _Pairs) -> bool:
    return all(of["min"] >= 0 and 2 < of["max"] <= 255 < other["mean"] for of, other in pairs)


def _amplitude(pairs: _Pairs) -> bool:
    """Tell whether radar could be the square root of the other: the mean of squares is mean² + std²."""
    if len(pairs) > _FEW_BANDS or not all(min(of["min"], other["min"]) >= 0 < other["mean"] for of, other in pairs):
        return False
    squares = [(of["mean"] ** 2 + of["std"] ** 2) / other["mean"] for of, other in pairs]
    ratios = [of["mean"] / other["mean"] for of, other in pairs]
    varied = all(other["std"] > 0.4 * other["mean"] for _, other in pairs)  # by speckle; optical bands are smoother
    return varied and all(0.6 < square < 1.6 for square in squares) and not any(0.4 < ratio < 2.5 for ratio in ratios)


def _times(pairs: _Pairs, low: float, high: float) -> bool:
    ratios = [abs(of["mean"]) / max(abs(other["mean"]), 1e-12) for of, other in pairs]
    return all(low < ratio < high for ratio in ratios)


def _moved(pairs: _Pairs, by: float) -> bool:
    """Tell an offset: bands of unlike brightness are all moved by about the same number, their spread stays."""
    brightness = [other["mean"] for _, other in pairs]
    return (
        len(pairs) > 2
        and max(brightness) - min(brightness) > by / 2
        and all(0.5 < of["std"] / max(other["std"], 1e-12) < 2 for of, other in pairs)
        and all(abs(of["mean"] - other["mean"] - by) < 0.3 * by for of, other in pairs)
        and all(of["min"] - other["min"] > by / 2 for of, other in pairs)
    )


_BASELINE = "as by the offset of Sentinel-2's processing baseline 04.00"  # in DN, and the same in reflectance

_KINDS: list[tuple[Callable[[_Pairs], bool], str]] = [
    (_decibels, "most of {} are negative, as in decibels, and none of {} is, as on a linear scale"),
    (_eight_bit, "{} lie between 0 and 255, as in 8 bit, and the means of {} above"),
    (_amplitude, "{} are like the square roots of {}: amplitude against intensity"),
    (partial(_times, low=2e3, high=5e4), "the means of {} are 10,000 times {}, as with 0 to 10,000 against 0 to 1"),
    (partial(_times, low=_FACTOR, high=np.inf), f"the means of {{}} are over {_FACTOR:g} times {{}}"),
    (partial(_moved, by=1000), f"{{}} have about 1000 more in all bands than {{}}, {_BASELINE}"),
    (partial(_moved, by=0.1), f"{{}} have about 0.1 more in all bands than {{}}, {_BASELINE}"),
]
"""Whether values are unlike others in some way, and that way in words."""
