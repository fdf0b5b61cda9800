"""Composites against numpy, and offsets of items against what their pixels tell."""

import numpy as np
import pytest

from cerraseg.data.imagery import composite
from cerraseg.data.imagery.offsets import Meaning, checked, declared


@pytest.fixture
def stack():
    """Five dates (5, 40, 30), a third of them missing, and a pixel without any."""
    rng = np.random.default_rng(1)
    values = rng.uniform(0.01, 1, (5, 40, 30)).astype(np.float32)
    values[rng.random(values.shape) < 1 / 3] = np.nan
    values[:, 0, 0] = np.nan
    return values


@pytest.mark.filterwarnings("ignore:All-NaN", "ignore:Mean of empty")
def test_median_mean_and_mean_of_decibels(stack):
    np.testing.assert_allclose(composite.median(stack), np.nanmedian(stack, axis=0), rtol=1e-6)
    np.testing.assert_allclose(composite.mean(stack), np.nanmean(stack, axis=0), rtol=1e-6)
    decibels = np.nanmean(10 * np.log10(stack), axis=0)
    np.testing.assert_allclose(10 * np.log10(composite.mean_db(stack)), decibels, rtol=1e-4)
    for method in composite.METHODS.values():
        assert np.isnan(method(stack)[0, 0]) and np.isfinite(method(stack)).sum() == np.isfinite(stack).any(0).sum()


def test_first_date_with_data(stack):
    found = composite.first(stack)
    for row, column in ((3, 4), (20, 20), (39, 29)):
        dates = stack[:, row, column]
        assert found[row, column] == dates[np.isfinite(dates)][0]


def test_mask_grows_in_all_directions():
    mask = np.zeros((9, 9), bool)
    mask[4, 4] = True
    assert composite.grown(mask, 3).sum() == 49 and composite.grown(mask, 0).sum() == 1


def item(baseline="05.09", applied=None, offset=None):
    properties = {"s2:processing_baseline": baseline, "earthsearch:boa_offset_applied": applied}
    bands = {} if offset is None else {"raster:bands": [{"scale": 1e-4, "offset": offset}]}
    known = {key: value for key, value in properties.items() if value is not None}
    return {"properties": known, "assets": {"blue": bands}}


@pytest.mark.parametrize(
    ("given", "offset", "lies"),
    [
        (item("02.14"), 0, False),
        (item("05.09"), -0.1, False),
        (item("04.00", offset=-0.1), -0.1, False),
        (item("05.09", applied=True, offset=-0.1), 0, True),  # as Earth Search has it
        (item("05.09", applied=False, offset=0), -0.1, True),
        (item(None, offset=-0.2), -0.2, False),  # of another sensor
    ],
)
def test_baseline_counts_before_what_the_bands_say(given, offset, lies):
    meaning = declared(given, "blue")
    assert meaning.offset == pytest.approx(offset) and bool(meaning.note) is lies


IN, OFF = Meaning(1e-4, -0.1, ""), Meaning(1e-4, 0.0, "")


@pytest.mark.parametrize(
    ("meanings", "dark", "offsets"),
    [
        ([IN, OFF, IN], [(1200, 1300), (200, 300), (1250, 1350)], [-0.1, 0, -0.1]),
        ([IN], [(150, 200)], [0]),  # dark ground would lie below 0: the offset is off already
        ([IN, OFF, OFF], [(1200, 1300), (1190, 1310), (210, 290)], [-0.1, -0.1, 0]),  # the others outvote one
        ([OFF, OFF], [(1200, 1300), (210, 290)], [0, 0]),  # of two, nobody knows which
        (
            [IN, IN, OFF],
            [(1400, 1500), (2400, 2500), (1400, 1500)],
            [0, -0.1, 0],
        ),  # bright ground
        ([IN, OFF, OFF], [(), (1200, 1300), (210, 290)], [-0.1, 0, 0]),
    ],
)
def test_metadata_that_lie_are_found_out_by_the_pixels(meanings, dark, offsets):
    found = checked(meanings, dark, ["22MHU"] * len(meanings))
    assert [one.offset for one in found] == pytest.approx(offsets)
    assert [bool(one.note) for one in found] == [
        one.offset != was.offset for one, was in zip(found, meanings, strict=True)
    ]
