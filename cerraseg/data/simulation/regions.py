"""How a class looks from region to region of the simulated Cerrado, as soils, dates and ways of farming differ."""

import numpy as np

from cerraseg.data.simulation.window import Floats, Salts, Window
from cerraseg.data.simulation.noise import fractal
from cerraseg.core.taxonomy import LEVELS, MSI_BANDS

RANGE = 1000.0
"""Lattice of the differences in px of 10 m: places 10 km apart look alike by chance alone."""

GROUP = {band: int(band > "B04") for band in MSI_BANDS} | {"B11": 2, "B12": 2, "VV": 3, "VH": 3}
"""Band → which of the four groups that change together: visible, infrared, short-wave infrared, radar."""


def looks(salt: Salts, window: Window, l2: np.ndarray, drift: float) -> Floats:
    """Factor of the signal of each group of bands, (4, H, W), by the class ``l2`` (H, W) of each pixel of ``window``.

    Its logarithm has zero mean and the standard deviation ``drift``; it is independent between classes and groups.
    """
    keys = np.random.SeedSequence(salt.entropy, spawn_key=(1,)).generate_state(1 + max(GROUP.values()), np.uint64)
    logarithms = np.zeros((len(keys), *l2.shape), np.float32)
    for class_id in np.unique(l2):
        here = l2 == class_id
        for group, key in zip(logarithms, keys, strict=True):
            group[here] = fractal(int(key) + len(LEVELS["l2"]) * int(class_id), window, (RANGE,))[here]
    return np.exp(np.float32(drift) * logarithms)
