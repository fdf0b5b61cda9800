"""Spectra and radar backscatter of the simulated classes, and the images that they give with light, haze and noise."""

from functools import cache

import numpy as np
import numpy.typing as npt

from cerraseg.data.simulation.noise import fractal
from cerraseg.data.simulation.window import CLASSES, MSI_BANDS, SAR_BANDS, Floats, Ground, Salts, Window

# Reflectance × 10,000 in the order of MSI_BANDS, then VV and VH on a linear scale, at growth stage 0 (dry, cut, clear)
# and at stage 1 (green, grown, turbid). Water falls towards the SWIR, green leaves have the red edge, bare soil and
# roofs rise towards the SWIR. Neighbours overlap on purpose: V1 and V2, the crops through their stages, pasture and
# clearings. Radar keeps apart what the eye confuses: VH rises with woody volume.
_STAGE_0 = {
    "Pa": (390, 550, 850, 1330, 1800, 2060, 2260, 2360, 2600, 2620, 4500, 3350, 66, 57),
    "V1": (255, 325, 540, 600, 1010, 1680, 1970, 2080, 2290, 2290, 2380, 1400, 116, 110),
    "V2": (275, 355, 580, 640, 1070, 1730, 2040, 2160, 2370, 2370, 2500, 1520, 98, 84),
    "Wt": (300, 350, 430, 320, 270, 200, 180, 160, 150, 140, 90, 60, 14, 11),
    "Mg": (700, 950, 1400, 1850, 2150, 2350, 2500, 2650, 2800, 2800, 3900, 3400, 75, 48),
    "UA": (750, 950, 1200, 1400, 1600, 1900, 2050, 2200, 2350, 2350, 2700, 2250, 300, 185),
    "OB": (700, 900, 1200, 1500, 1750, 2000, 2150, 2300, 2450, 2450, 3150, 2650, 190, 105),
    "Ft": (220, 260, 480, 370, 800, 2050, 2550, 2700, 2900, 2850, 1900, 900, 128, 158),
    "PR": (290, 370, 640, 640, 1080, 1900, 2250, 2400, 2600, 2600, 2650, 1600, 96, 92),
    "SP": (340, 440, 780, 850, 1320, 1950, 2250, 2400, 2650, 2650, 3300, 2150, 98, 74),
    "T1": (480, 650, 950, 1400, 1750, 2050, 2200, 2350, 2600, 2650, 4400, 3450, 58, 40),
    "T1+": (430, 570, 880, 1150, 1550, 2050, 2300, 2500, 2750, 2800, 3900, 2850, 68, 52),
    "OU": (420, 550, 790, 1030, 1350, 1640, 1800, 1920, 2160, 2180, 3400, 2650, 80, 62),
    "Df": (350, 450, 630, 820, 1080, 1320, 1480, 1590, 1810, 1840, 3050, 2400, 88, 66),
}
_STAGE_1 = {
    "Pa": (285, 370, 680, 580, 1180, 2180, 2520, 2670, 2870, 2850, 2650, 1500, 98, 88),
    "V1": (195, 230, 430, 310, 730, 1960, 2420, 2530, 2730, 2680, 1650, 750, 140, 138),
    "V2": (215, 260, 480, 360, 800, 2050, 2510, 2640, 2840, 2790, 1850, 870, 112, 104),
    "Wt": (450, 600, 900, 900, 820, 560, 480, 420, 380, 330, 190, 130, 24, 17),
    "Mg": (950, 1300, 1850, 2400, 2700, 2900, 3050, 3200, 3350, 3300, 4600, 4200, 110, 64),
    "UA": (1150, 1450, 1750, 2000, 2150, 2400, 2500, 2650, 2750, 2750, 3300, 2900, 430, 250),
    "OB": (1250, 1600, 1950, 2250, 2450, 2600, 2700, 2850, 2950, 2900, 3600, 3200, 330, 165),
    "Ft": (195, 215, 420, 280, 690, 2250, 2850, 3050, 3250, 3200, 1650, 700, 142, 184),
    "PR": (240, 290, 550, 400, 880, 2250, 2750, 2950, 3150, 3100, 2150, 1050, 112, 112),
    "SP": (265, 340, 700, 460, 1050, 2550, 3150, 3400, 3600, 3550, 2400, 1150, 135, 108),
    "T1": (310, 410, 760, 560, 1180, 2600, 3250, 3500, 3700, 3650, 2800, 1500, 100, 82),
    "T1+": (260, 340, 700, 390, 980, 2850, 3650, 3900, 4100, 4000, 2300, 1050, 118, 98),
    "OU": (640, 820, 1120, 1420, 1720, 2020, 2150, 2270, 2460, 2480, 3700, 3000, 108, 80),
    "Df": (390, 510, 780, 1030, 1410, 1820, 2040, 2170, 2440, 2450, 3800, 2750, 112, 90),
}
# How much a class's own texture (about N(0, 1)) moves its brightness, and its growth stage.
_RELIEF = {"Pa": 0.04, "V1": 0.06, "V2": 0.11, "Wt": 0.02, "UA": 0.17, "Ft": 0.12, "PR": 0.12, "SP": 0.07, "Df": 0.13}
_PATCHINESS = {"Pa": 0.08, "V1": 0.1, "V2": 0.2, "Df": 0.2}
_SMOOTH = 0.05  # either, for the classes not named

_OFFSET = np.float32(1000)  # of the published reflectances
_ILLUMINATION = 0.2  # standard deviation of the smooth brightness factor: slopes and dates
_MOISTURE = 0.18  # the same for the radar: wet and dry ground
_HAZE_EVERYWHERE = 0.12  # standard deviation of the air's brightness, as a part of _HAZE
_CLOUD, _CLOUD_FROM = 1.7, 1.5  # thin cloud: where the air is this many deviations bright, times this
_SAR_FLOOR = np.float32(2.0)  # the radar's own noise over still water
_HAZE = np.array((1500, 1500, 1450, 1400, 1300, 1200, 1150, 1100, 1050, 1050, 700, 550), np.float32)
_TONE = np.linspace(0.12, 0.2, len(MSI_BANDS), dtype=np.float32)  # how much a field's tone moves a band
_NOISE = np.linspace(28, 70, len(MSI_BANDS), dtype=np.float32)  # sensor noise, standard deviation
_LOOKS = 4  # of the radar's speckle
_GROUPS = [0] * 4 + [1] * 6 + [2] * 2 + [3] * 2
"""Visible, infrared, short-wave infrared and radar: the groups of bands that drift together."""

_REGION = 1000.0  # lattice of the drift in px of 10 m: places 10 km apart look alike by chance alone
_STAGES = 64  # steps of the table of spectra by growth stage: finer than the noise


def images(
    ground: Ground, salt: Salts, inner: Window, rng: np.random.Generator, drift: float = 0.0
) -> tuple[Floats, Floats]:
    """Make MSI (12, H, W) and SAR (2, H, W) of the ``inner`` window of ``ground``, which shows one pixel more around.

    With ``drift`` classes look different from region to region, see :func:`regional_factors`.
    """
    window = inner.padded(1)
    stage = (ground.stage + _by_class(_PATCHINESS).take(ground.l2) * ground.texture).clip(0, 1)
    key = ground.l2 * np.intp(_STAGES) + (stage * (_STAGES - 1)).astype(np.intp)
    relief = _by_class(_RELIEF).take(ground.l2) * ground.texture
    light = (fractal(salt.light, window, (330, 140, 60)) * np.float32(_ILLUMINATION) + 1) * (1 + relief)
    moist = fractal(salt.moisture, window, (500, 130, 30)) * np.float32(_MOISTURE) + 1
    moist *= 1 + np.float32(0.6) * relief
    air = fractal(salt.air, inner, (380, 170, 60))
    haze = _HAZE_EVERYWHERE * air + _CLOUD * np.maximum(air - _CLOUD_FROM, 0)
    regional = regional_factors(salt, window, ground.l2, drift) if drift else None
    soil = light * ground.tone
    normals, speckles = _random_tables()
    picks = _picks(rng, (len(MSI_BANDS) + len(SAR_BANDS), inner.height, inner.width))
    result = np.empty(picks.shape, np.float32)
    for band, image in enumerate(result):
        signal = _spectra_by_stage()[band].take(key)
        if regional is not None:
            signal *= regional[_GROUPS[band]]
        if band < len(MSI_BANDS):  # spectrum × light and tone, blurred, in haze, with sensor noise
            image[:] = normals.take(picks[band]) * _NOISE[band] + haze * _HAZE[band]
            image += _blur(signal * (soil * _TONE[band] + light))
            image += _OFFSET
        else:  # backscatter × moisture, blurred, not below the floor, with speckle
            image[:] = speckles.take(picks[band]) * np.maximum(_blur(signal * moist), _SAR_FLOOR)
    return result[: len(MSI_BANDS)], result[len(MSI_BANDS) :]


def regional_factors(salt: Salts, window: Window, l2: npt.NDArray[np.uint8], drift: float) -> Floats:
    """Draw the factor of the signal of each group of bands, (4, H, W), by the class of each pixel, ``l2`` (H, W).

    Its logarithm has zero mean and the standard deviation ``drift``; it is independent between classes and groups.
    """
    keys = np.random.SeedSequence(salt.entropy, spawn_key=(1,)).generate_state(1 + max(_GROUPS), np.uint64)
    logarithms = np.zeros((len(keys), *l2.shape), np.float32)
    for class_id in np.unique(l2):
        here = l2 == class_id
        for group, key in zip(logarithms, keys, strict=True):
            group[here] = fractal(int(key) + len(CLASSES) * int(class_id), window, (_REGION,))[here]
    return np.exp(np.float32(drift) * logarithms)


def _picks(rng: np.random.Generator, shape: tuple[int, int, int]) -> npt.NDArray[np.uint16]:
    """Uniform uint16, four from every raw number of the generator."""
    count = int(np.prod(shape))
    raw: npt.NDArray[np.uint64] = rng.bit_generator.random_raw(-(-count // 4))
    return raw.view(np.uint16)[:count].reshape(shape)


@cache
def _random_tables() -> tuple[Floats, Floats]:
    """65,536 draws each of sensor noise, N(0, 1), and speckle, mean 1: picking is four times as fast as drawing."""
    rng = np.random.default_rng(0)
    normals, speckles = rng.standard_normal(1 << 16, np.float32), rng.standard_gamma(_LOOKS, 1 << 16, np.float32)
    return normals, speckles * np.float32(1 / _LOOKS)


def _by_class(values: dict[str, float]) -> Floats:
    return np.array([values.get(c.abbreviation, _SMOOTH) for c in CLASSES], np.float32)


@cache
def _spectra_by_stage() -> Floats:
    """Signal (14 bands, classes × stages): from the spectrum at stage 0 to the one at stage 1."""
    low, high = (np.array([of[c.abbreviation] for c in CLASSES], np.float32).T for of in (_STAGE_0, _STAGE_1))
    stage = np.linspace(0, 1, _STAGES, dtype=np.float32)
    return (low[..., None] * (1 - stage) + high[..., None] * stage).reshape(len(low), -1)


def _blur(image: Floats) -> Floats:
    """Mix every pixel with its neighbours, as the sensor does; (H + 2, W + 2) → (H, W)."""
    rows = (image[1:-1] * 2 + image[:-2] + image[2:]) * np.float32(1 / 16)
    blurred: Floats = rows[:, 1:-1] * 2 + rows[:, :-2] + rows[:, 2:]
    return blurred
