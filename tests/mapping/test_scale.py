"""Scenes on another scale than the training patches are told by their statistics; odd scenes are not."""

import numpy as np
import pytest
from scenes import TRAINED, pixels

from cerraseg.core.errors import DataError
from cerraseg.core.taxonomy import MODALITIES, MSI_BANDS, SAR_BANDS
from cerraseg.mapping.scale import check_scale, compared

DECIBELS = {band: {"mean": -14.0, "std": 4.0, "min": -40.0, "max": 20.0} for band in SAR_BANDS}


def flat(modality):
    return pixels(modality, 30, 30).reshape(len(MODALITIES[modality]), -1)


def test_the_scale_of_training_passes():
    check_scale("s", MODALITIES["concat"], flat("concat"), TRAINED)
    lines = compared(MODALITIES["concat"], flat("concat"), TRAINED)
    assert list(lines) == list(MODALITIES["concat"])
    assert lines["B01"].startswith("B01 ") and "training 2000 (100 to 9000)" in lines["B01"]


@pytest.mark.parametrize(
    ("bands", "sample", "trained", "fault"),
    [
        (SAR_BANDS, 10 * np.log10(flat("sar") / 1000), TRAINED, "most values are negative, as in decibels"),
        (SAR_BANDS, 10 ** (flat("sar") / 1000), DECIBELS, "no value is negative, as on a linear scale"),
        (MSI_BANDS, flat("msi") / 10_000, TRAINED, "the means are .* times those of training"),
        (MSI_BANDS, flat("msi") * 100, TRAINED, "the means are .* times those of training"),
        (MODALITIES["concat"], flat("concat") * np.repeat([1, 0.01], [12, 2])[:, None], TRAINED, "its sar bands"),
    ],
)
def test_another_scale_is_refused_with_the_numbers(bands, sample, trained, fault):
    with pytest.raises(DataError, match=rf"scene s: {'.*' if 'bands' not in fault else ''}{fault}") as refused:
        check_scale("s", bands, sample.astype(np.float32), trained)
    assert "VV " in str(refused.value) or "B01 " in str(refused.value)
    assert "convert the scene, or set maps.check_scale: false" in str(refused.value)


def test_water_and_snow_pass():
    """Water is dark in the infrared, snow bright in the visible: some bands far off, never all of them."""
    water, snow = flat("msi"), flat("msi")
    water[6:] /= 100
    snow[:9] *= 25
    check_scale("water", MSI_BANDS, water, TRAINED)
    check_scale("snow", MSI_BANDS, snow, TRAINED)
