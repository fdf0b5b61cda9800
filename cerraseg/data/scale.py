"""Tell values that are in other units than those that a model was trained on, from statistics alone.

Statistics of a sensor are band → mean, std, min, max, see :mod:`cerraseg.data.statistics`.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Statistics = Mapping[str, Mapping[str, float]]

_FACTOR = 20.0  # of every band's mean: no ground is that much brighter in all bands
_FEW_BANDS = 4  # of a radar, at most
_FAR = 3.0  # standard deviations
_OUTSIDE = 0.05  # share of the pixels

# DN added by Sentinel-2's processing baseline 04.00, and the same in reflectance.
_OFFSETS = (1000.0, 0.1)


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
    if all(old["min"] >= 0 and new["mean"] < 0 for new, old in pairs):
        return "most values are negative, as in decibels, and no training value was"
    if all(old["mean"] < 0 and new["min"] >= 0 for new, old in pairs):
        return "no value is negative, as on a linear scale, and most training values were, as in decibels"
    if _in_8_bit(ours) and all(old["mean"] > 255 for _, old in pairs):
        return "all values lie between 0 and 255, as in 8 bit, and the training values do not"
    if _in_8_bit(trained) and all(new["mean"] > 255 for new, _ in pairs):
        return "the training values lie between 0 and 255, as in 8 bit, and the means here above"
    if len(pairs) <= _FEW_BANDS and all(min(new["min"], old["min"]) >= 0 for new, old in pairs):
        if all(_is_amplitude_of(new, old) for new, old in pairs):
            return "the values are like the square roots of those of training: amplitude against intensity"
        if all(_is_amplitude_of(old, new) for new, old in pairs):
            return "the values are like the squares of those of training: intensity against amplitude"
    return _factor(pairs) or _offset(pairs)


def scale_warning(ours: Statistics, trained: Statistics) -> str | None:
    """Return in words which bands lie far from those of training, as a matter of degree, or None."""
    far = [band for band, of in ours.items() if abs(of["mean"] - trained[band]["mean"]) > _FAR * trained[band]["std"]]
    outside = [band for band, of in ours.items() if of.get("outside", 0) > _OUTSIDE]
    told = []
    if far:
        told.append(f"the means of {', '.join(far)} lie more than {_FAR:g} standard deviations from those of training")
    if outside:
        told.append(f"over {_OUTSIDE:.0%} of the values of {', '.join(outside)} lie far outside the range of training")
    return "; ".join(told) or None


_Pairs = list[tuple[Mapping[str, float], Mapping[str, float]]]  # of each band: the values' statistics, training's


def _in_8_bit(bands: Statistics) -> bool:
    return all(of["min"] >= 0 and 2 < of["max"] <= 255 for of in bands.values())


def _is_amplitude_of(amplitude: Mapping[str, float], intensity: Mapping[str, float]) -> bool:
    """Tell whether one could be the square root of the other: the mean of squares is mean² + std²."""
    square, mean = amplitude["mean"] ** 2 + amplitude["std"] ** 2, intensity["mean"]
    if mean <= 0:
        return False
    varied = intensity["std"] > 0.4 * mean  # as speckle makes it; optical bands are smoother
    return varied and 0.6 < square / mean < 1.6 and not 0.4 < amplitude["mean"] / mean < 2.5


def _factor(pairs: _Pairs) -> str | None:
    ratios = [abs(new["mean"]) / max(abs(old["mean"]), 1e-12) for new, old in pairs]
    if max(ratios) >= 1 / _FACTOR and min(ratios) <= _FACTOR:
        return None
    range_ = f"the means are {min(ratios):.3g} to {max(ratios):.3g} times those of training"
    for low, named in ((1e-4, "reflectance of 0 to 1 against 0 to 10,000"), (1e4, "0 to 10,000 against 0 to 1")):
        if low / 5 < min(ratios) and max(ratios) < low * 5:
            return f"{range_}, as in {named}"
    return range_


def _offset(pairs: _Pairs) -> str | None:
    """Tell an offset: bands of unlike brightness are all moved by about the same number, their spread stays."""
    shifts = np.array([new["mean"] - old["mean"] for new, old in pairs])
    lowest = np.array([new["min"] - old["min"] for new, old in pairs])
    brightness = [old["mean"] for _, old in pairs]
    if len(pairs) < 3 or not all(0.5 < new["std"] / max(old["std"], 1e-12) < 2 for new, old in pairs):
        return None
    for offset in _OFFSETS:
        unlike = max(brightness) - min(brightness) > offset / 2
        for sign, more in ((1, "more"), (-1, "less")):
            if unlike and (abs(sign * shifts - offset) < 0.3 * offset).all() and (sign * lowest > offset / 2).all():
                where = "as by the offset of Sentinel-2's processing baseline 04.00"
                return f"all bands have about {offset:g} {more} than in training, {where}"
    return None
