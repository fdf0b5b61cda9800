"""The images of a simulated ground: spectra of four groups of classes, texture, air, gain, sensor noise and speckle."""

import numpy as np
from numpy.typing import NDArray

from cerraseg.data.simulation.land import CERRADATA, ID, Floats, Land, Window, axes
from cerraseg.data.simulation.landscape import Ground, landscape

# Reflectance × 10,000 of the 12 MSI bands, then VV and VH on a linear scale, at growth stage 0 (dry, cut, clear) and at
# stage 1 (green, grown, turbid), of woody, herbaceous and bright land cover and of water.
# fmt: off
_SPECTRA = np.array([
    [(255, 325, 540, 600, 1010, 1680, 1970, 2080, 2290, 2290, 2380, 1400, 110, 100),
     (195, 230, 430, 310, 730, 1960, 2420, 2530, 2730, 2680, 1650, 750, 140, 138)],
    [(390, 550, 850, 1330, 1800, 2060, 2260, 2360, 2600, 2620, 4500, 3350, 62, 50),
     (285, 360, 690, 500, 1100, 2400, 2900, 3050, 3250, 3200, 2600, 1450, 105, 88)],
    [(700, 950, 1300, 1700, 1950, 2200, 2350, 2500, 2650, 2650, 3500, 2950, 120, 70),
     (900, 1200, 1700, 2100, 2350, 2550, 2700, 2850, 2980, 2950, 4100, 3500, 200, 110)],
    [(300, 350, 430, 320, 270, 200, 180, 160, 150, 140, 90, 60, 14, 11),
     (450, 600, 900, 900, 820, 560, 480, 420, 380, 330, 190, 130, 24, 17)],
], np.float32)
# fmt: on
_GROUPS = {"V1": 0, "V2": 0, "Ft": 0, "PR": 0, "Pa": 1, "SP": 1, "T1": 1, "T1+": 1, "Wt": 3}  # all others: 2
_GROUP = np.array([_GROUPS.get(name, 2) for name in ID])
_HAZE = np.array((1, 0.98, 0.95, 0.9, 0.85, 0.8, 0.78, 0.75, 0.7, 0.7, 0.45, 0.35), np.float32) * 10_000
_BANDS, _OPTICAL = len(CERRADATA.bands()), len(CERRADATA.bands("msi"))
_DATE = 640  # px, side of the ground that is seen at one date
_REGION = 1000  # px, lattice of the drift: places 10 km apart look alike by chance alone
_DRIFTING = [0] * 4 + [1] * 6 + [2] * 2 + [3] * 2  # bands that drift together: visible, infrared, short-wave, radar


def render(land: Land, window: Window) -> tuple[Floats, Ground]:
    """Make the images (14, H, W) of a window, MSI then SAR, and its ground, which shows one px more on every side.

    Ground is the same in any window; sensor noise and speckle are the window's own.
    """
    y, x = axes(window, 1)
    rng = np.random.default_rng((land.seed, land.scene, *window))
    ground = landscape(land, window, 1)
    texture = land.texture * ground.texture
    stage = (0.225 + 0.55 * ground.owner + 0.8 * texture).clip(0, 1)
    tone = 0.4 * (ground.owner * 7 % 1 - 0.5)
    light = (1 + texture) * (1 + tone) * (1 + 0.1 * land.noise("light", y, x, 180))
    air = land.haze * (1 + land.noise("air", *axes(window), 380, 170, 60)).clip(0)
    i, j = (at // _DATE for at in axes(window))
    dates = 12**0.5 * land.gain * (np.stack([land.uniform(f"date {k}", i, j) for k in range(1 + 2 * _BANDS)]) - 0.5)
    gain, offset = np.exp(dates[0] + 0.4 * dates[1 : 1 + _BANDS]), 600 * dates[1 + _BANDS :]
    group, factors = _GROUP[ground.l2], _factors(land, ground.l2, y, x)
    images = np.empty((_BANDS, *window[2:]), np.float32)
    for band, image in enumerate(images):
        low, high = _SPECTRA[..., band].T
        signal = (low[group] + (high - low)[group] * stage) * factors[band]
        if band < _OPTICAL:
            noise = (28 + 3.5 * band) * rng.standard_normal(image.shape, np.float32) + 1000  # offset as published
            image[:] = _blur(signal * light) * gain[band] + offset[band] + air * _HAZE[band] + noise
        else:  # the blur makes neighbours alike; it leaves 0.14 of the variance
            speckle = _blur(rng.standard_gamma(0.14 * land.looks, signal.shape, np.float32)) / (0.14 * land.looks)
            image[:] = _blur(signal * (1 + 0.6 * texture)) * gain[band] * speckle
    return images, ground


def _factors(land: Land, l2: NDArray[np.uint8], y: Floats, x: Floats) -> Floats:
    """Draw the factor of the signal of each band, (14, H, W), by class, and with drift by region."""
    logs = land.spectral * np.random.default_rng(land.seed).standard_normal((_BANDS, len(ID)))
    factors = np.exp(logs).astype(np.float32)[:, l2]
    for class_id in np.unique(l2) if land.drift else ():
        row, column = np.nonzero(l2 == class_id)
        regional = [land.noise(f"drift {class_id} {k}", y[row, 0], x[0, column], _REGION) for k in range(4)]
        factors[:, row, column] *= np.exp(land.drift * np.stack(regional))[_DRIFTING]
    return factors


def _blur(image: Floats) -> Floats:
    """Mix every pixel with its neighbours, as the sensor does; (H + 2, W + 2) → (H, W)."""
    rows = (image[1:-1] * 2 + image[:-2] + image[2:]) / 16
    return rows[:, 1:-1] * 2 + rows[:, :-2] + rows[:, 2:]
