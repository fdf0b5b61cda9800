"""Is a scene on the scale that the models were trained on? Told by its statistics, before anything is mapped."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerraseg.core.errors import DataError
from cerraseg.core.taxonomy import MODALITIES


def check_scale(name: str, bands: Sequence[str], sample: NDArray[np.float32], trained: Mapping[str, Any]) -> None:
    """Compare a sample (bands, N) of a scene to the training statistics of :mod:`cerraseg.data.statistics` (``bands``).

    Raises :class:`DataError` if the bands of a modality are on another scale: most values
    negative where training had none or none where training's mean is negative (decibels against a linear scale), or
    every band's mean 20 times larger or smaller (reflectance of 0 to 1 against 0 to 10,000).
    """
    lines = compared(bands, sample, trained)
    for layer in ("msi", "sar"):
        ours = [
            (pixels, trained[band]) for band, pixels in zip(bands, sample, strict=True) if band in MODALITIES[layer]
        ]
        if ours and (fault := _fault(ours)):
            listed = "; ".join(lines[band] for band in bands if band in MODALITIES[layer])
            raise DataError(
                f"scene {name}: its {layer} bands are not on the scale that the models were trained on: {fault}. "
                f"{listed}. Expected the units of the training patches: convert the scene, or set maps.check_scale: "
                "false to map it as it is"
            )


def compared(bands: Sequence[str], sample: NDArray[np.float32], trained: Mapping[str, Any]) -> dict[str, str]:
    """Band → mean and range of a sample (bands, N) beside those of training, in words."""
    return {
        band: f"{band} {pixels.mean(dtype=float):.4g} ({pixels.min():.4g} to {pixels.max():.4g}), "
        f"training {trained[band]['mean']:.4g} ({trained[band]['min']:.4g} to {trained[band]['max']:.4g})"
        for band, pixels in zip(bands, sample, strict=True)
    }


def _fault(bands: Sequence[tuple[NDArray[np.float32], Mapping[str, float]]]) -> str | None:
    if all(trained["min"] >= 0 and np.mean(pixels < 0) > 0.5 for pixels, trained in bands):
        return "most values are negative, as in decibels, and no training value was"
    if all(trained["mean"] < 0 and pixels.min() >= 0 for pixels, trained in bands):
        return "no value is negative, as on a linear scale, and most training values were, as in decibels"
    ratios = [float(np.abs(pixels).mean(dtype=float)) / max(abs(trained["mean"]), 1e-12) for pixels, trained in bands]
    if max(ratios) < 1 / 20 or min(ratios) > 20:
        return f"the means are {min(ratios):.3g} to {max(ratios):.3g} times those of training"
    return None
