"""Each weighting against numbers worked out by hand, and against what it turns into at the end of its range."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import opened

from cerraseg.config.scenario import AXES
from cerraseg.data.tables import rows_of
from cerraseg.training.weightings import WEIGHTINGS, draw_shares, effective, inverse_root, log_prior

COUNTS = [900, 0, 100]
LEVEL = {"counts": COUNTS, "class_weights": [1 / 9, 0.0, 1.0]}


@pytest.mark.parametrize("name", AXES["weighting"])
def test_each_changes_one_thing(name):
    balance = WEIGHTINGS[name].balance(LEVEL)
    assert (balance.class_weights is not None) == (name in ("w", "sqrt", "effective"))
    assert (balance.adjustment is not None) == (name == "logit")
    assert balance.gamma == (2 if name == "focal" else 0)
    assert WEIGHTINGS[name].resampled == (name == "rare")


@pytest.mark.parametrize(
    ("weighting", "counts", "expected"),
    [
        (inverse_root, COUNTS, [0.5, 0, 1.5]),  # frequencies 0.9 and 0.1: roots 1 and 3, whose mean is 2
        (inverse_root, [4_000_000, 1_000_000, 4], [3 / 33, 6 / 33, 90 / 33]),  # roots 1, 2 and 1000, capped at 30
        (effective, [1, 3, 0], [14 / 11, 8 / 11, 0]),  # N = 2, β = 1/2: 1 − 1/2 and 1 − 1/8, weights as 2 to 8/7
        (log_prior, COUNTS, np.log([0.9, 0.1, 0.1])),  # an absent class has the prior of the rarest that is there
    ],
)
def test_weights_by_hand(weighting, counts, expected):
    assert weighting(counts) == pytest.approx(np.array(expected))


def test_effective_number_of_millions_of_pixels():
    """β = 1 − 1 / N is so near to 1 that it must not be raised to a power as it is; N is the mean of the present."""
    common, at_mean, rare, absent = effective([29_990_000, 10_000_000, 10_000, 0])
    share = 3 / 40_000_000
    expected = 1 / -np.expm1(np.array([29_990_000, 10_000_000, 10_000]) * np.log1p(-share))
    assert [common, at_mean, rare] == pytest.approx((expected / expected.mean()).tolist())
    assert absent == 0
    assert effective([2990, 1000, 10]) == pytest.approx(effective([29900, 10000, 100]), rel=2e-3)


def test_shares_are_for_rare_alone_and_follow_the_factors(packed):
    store, rows = opened(packed), rows_of(packed / "split.csv", "train")
    masks = store.masks.copy()
    masks[:, 0] = 0
    masks[rows[3], 0] = 255
    masks[rows[4], 0, 0, 0] = 6  # in one patch of six, which is more than the threshold
    assert draw_shares("nw", store, rows, "l1", 7) is None
    common = draw_shares("rare", replace(store, masks=masks), rows, "l1", 7)
    assert common == pytest.approx(np.full(6, 1 / 6))
    many = np.repeat(rows, 5)
    masks = masks[many]
    masks[:, 0] = 0
    masks[20, 0, 5, 5] = 6
    shares = draw_shares("rare", replace(store, masks=masks), np.arange(30), "l1", 7)
    factor = np.sqrt(0.1 * 30)
    assert shares == pytest.approx(np.where(np.arange(30) == 20, factor, 1) / (29 + factor))
