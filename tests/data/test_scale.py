"""Other units are told from statistics alone; other ground is not taken for them."""

import numpy as np
import pytest

from cerraseg.data.scale import describe, scale_fault, scale_warning, statistics_of

BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
MEANS = np.array([400, 450, 700, 600, 1100, 2300, 2800, 2900, 3000, 3000, 2100, 1200.0])
RADAR = ("VV", "VH")
RNG = np.random.default_rng(0)
OPTICAL = MEANS[:, None] * RNG.gamma(9, 1 / 9, (12, 4000)) + 50
INTENSITY = np.array([[0.1], [0.02]]) * RNG.gamma(1.2, 1 / 1.2, (2, 4000))  # speckle on unlike ground


def stats(bands, sample):
    none = {band: {"min": 0.0, "max": 0.0, "std": 0.0} for band in bands}
    return statistics_of(bands, np.asarray(sample, "f4"), none)


def fault(bands, ours, trained):
    return scale_fault(stats(bands, ours), stats(bands, trained))


@pytest.mark.parametrize(
    ("bands", "ours", "trained", "named"),
    [
        (RADAR, 10 * np.log10(INTENSITY), INTENSITY, "most of the values are negative, as in decibels"),
        (RADAR, INTENSITY, 10 * np.log10(INTENSITY), "most of those of training are negative, as in decibels"),
        (BANDS, OPTICAL / 1e4, OPTICAL, "means of those of training are 10,000 times the values"),
        (BANDS, OPTICAL, OPTICAL / 1e4, "means of the values are 10,000 times those of training"),
        (BANDS, np.clip(OPTICAL / 20, 0, 255), OPTICAL, "the values lie between 0 and 255, as in 8 bit"),
        (BANDS, OPTICAL, np.clip(OPTICAL / 40, 0, 255), "those of training lie between 0 and 255, as in 8 bit"),
        (RADAR, np.sqrt(INTENSITY), INTENSITY, "the values are like the square roots of those of training"),
        (RADAR, INTENSITY, np.sqrt(INTENSITY), "those of training are like the square roots of the values: amplitude"),
        (RADAR, np.sqrt(INTENSITY) * 1000, INTENSITY * 1e6, "the values are like the square roots"),
        (BANDS, OPTICAL + 1000, OPTICAL, "the values have about 1000 more"),
        (BANDS, OPTICAL, OPTICAL + 1000, "those of training have about 1000 more"),
        (BANDS, OPTICAL / 1e4 + 0.1, OPTICAL / 1e4, "the values have about 0.1 more"),
        (BANDS, OPTICAL * 100, OPTICAL, "the values are over 20 times those of training"),
    ],
)
def test_other_units(bands, ours, trained, named):
    assert named in fault(bands, ours, trained)
    assert fault(bands, trained, trained) is None and fault(bands, ours, ours) is None


def test_other_ground_passes():
    """Water is dark in the infrared, snow bright in the visible, a dry season brighter everywhere, a town in radar."""
    water, snow = OPTICAL.copy(), OPTICAL.copy()
    water[5:] /= 50
    snow[:9] *= 12
    for ground in (water, snow, OPTICAL * 1.5, OPTICAL * 0.6):
        assert fault(BANDS, ground, OPTICAL) is None
    for ground in (INTENSITY * 4, INTENSITY / 5, INTENSITY * [[4], [2]]):
        assert fault(RADAR, ground, INTENSITY) is None
    for ground in (INTENSITY * 2, INTENSITY / 3):
        assert fault(RADAR, 10 * np.log10(ground), 10 * np.log10(INTENSITY)) is None


def test_a_matter_of_degree_is_a_warning():
    trained = stats(BANDS, OPTICAL)
    assert scale_warning(statistics_of(BANDS, OPTICAL.astype("f4"), trained), trained) is None
    snow = OPTICAL.copy()
    snow[1] *= 12
    snow[2, :400] = 60000
    found = scale_warning(statistics_of(BANDS, snow.astype("f4"), trained), trained)
    assert "the means of B02, B03 lie" in found and "values of B02, B03 lie far outside" in found


def test_both_statistics_as_text():
    ours, trained = stats(("a",), [[1, 2, 3]]), stats(("a",), [[10, 20, 60]])
    assert describe(ours, trained) == "a 2 (1 to 3), training 30 (10 to 60)"
