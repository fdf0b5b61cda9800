"""Estimates against the published example, exact cases and plain loops."""

import numpy as np
import pytest

from cerraseg.core.errors import DataError
from cerraseg.evaluation import bootstrap
from cerraseg.evaluation.area_estimates import estimate, intervals

# Olofsson et al. 2014, table 8: rows map, columns reference; deforestation, forest gain, stable forest and non-forest.
PUBLISHED = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
HECTARES = np.array([200_000, 150_000, 3_200_000, 6_450_000]) * 0.09


def near(expected, digits):
    """Equal when rounded to so many digits."""
    return pytest.approx(expected, abs=0.5 * 10**-digits)


def test_the_published_example():
    result = estimate(PUBLISHED.T, HECTARES)
    assert result.adjusted.value == near([21_158, 11_686, 285_770, 581_386], 0)
    assert 1.96 * result.adjusted.error == near([6_158, 3_756, 15_510, 16_282], 0)
    assert result.overall.value == near(0.95, 2) and 1.96 * result.overall.error == near(0.02, 2)
    assert result.users.value == near([0.88, 0.73, 0.93, 0.96], 2)
    assert 1.96 * result.users.error == near([0.07, 0.10, 0.04, 0.02], 2)
    assert result.producers.value == near([0.75, 0.85, 0.93, 0.96], 2)
    # The paper prints 0.23 for the second and 0.01 for the last, which its own numbers do not give.
    assert 1.96 * result.producers.error == near([0.21, 0.25, 0.03, 0.02], 2)


def test_standard_errors_are_those_of_independent_samples():
    """Strata drawn anew from known rates: the spread of the estimates is what the formula says."""
    random = np.random.default_rng(4)
    hectares, samples = np.array([30.0, 10.0, 60.0]), np.array([200, 100, 300])
    rates = np.array([[0.9, 0.05, 0.05], [0.2, 0.7, 0.1], [0.02, 0.03, 0.95]])
    drawn = np.stack([random.multinomial(n, p, 2000) for n, p in zip(samples, rates, strict=True)], axis=2)
    each = [estimate(counts, hectares) for counts in drawn]
    expected = estimate((rates * samples[:, None]).round().astype(int).T, hectares)
    for name in ("adjusted", "users", "producers", "overall"):
        values = np.array([getattr(one, name).value for one in each])
        point = getattr(expected, name)
        assert values.mean(axis=0) == pytest.approx(point.value, rel=0.01)
        assert values.std(axis=0) == pytest.approx(point.error, rel=0.06)


def test_a_perfect_map_keeps_its_areas():
    result = estimate(np.diag([5, 9, 4]), [1.0, 2.0, 3.0])
    assert result.adjusted.value.tolist() == [1, 2, 3]
    assert result.users.value.tolist() == result.producers.value.tolist() == [1, 1, 1]
    assert result.overall == (1, 0)


def test_ground_of_a_class_without_samples_cannot_be_shared_out():
    counts = [[8, 2, 0], [1, 9, 0], [0, 3, 0]]
    result = estimate(counts, [50.0, 40.0, 10.0])
    for name in ("adjusted", "producers", "overall"):
        assert np.isnan(getattr(result, name)).all(), name
    assert result.users.value == pytest.approx([8 / 9, 9 / 14, np.nan], nan_ok=True)
    assert result.users.error[:2] == pytest.approx([(8 / 9 / 9 / 8) ** 0.5, (9 / 14 * 5 / 14 / 13) ** 0.5])


def test_a_class_without_samples_and_ground_is_in_nobodys_way():
    """All of the third class's truth is missed: its area is known, nothing of it was found."""
    result = estimate([[8, 2, 0], [1, 9, 0], [0, 3, 0]], [50.0, 40.0, 0.0])
    assert result.adjusted.value == pytest.approx([50 * 8 / 9 + 40 * 2 / 14, 50 / 9 + 40 * 9 / 14, 40 * 3 / 14])
    assert result.producers.value[2] == 0 and np.isnan(result.users.value[2])
    assert np.isfinite(result.adjusted.error).all() and result.adjusted.value.sum() == pytest.approx(90)


def test_one_sample_gives_a_value_without_an_error():
    result = estimate([[8, 0], [2, 1]], [50.0, 5.0])
    assert result.users.value.tolist() == [0.8, 1]
    assert np.isnan(result.users.error).tolist() == [False, True]
    assert result.adjusted.value == pytest.approx([40, 15])
    assert np.isnan(result.adjusted.error).all() and np.isnan(result.producers.error).all()
    without_ground = estimate([[8, 0], [2, 1]], [50.0, 0.0])
    assert without_ground.adjusted.error == pytest.approx(50 * np.array([1, 1]) * (0.8 * 0.2 / 9) ** 0.5)


def test_an_absent_class_has_no_estimates():
    counts = np.repeat([[[8, 2, 0], [1, 9, 0], [0, 0, 0]]], 4, axis=0)
    result, ends = estimate(counts.sum(axis=0), [50.0, 40.0, 0.0]), intervals(counts, [50.0, 40.0, 0.0])
    for name in ("adjusted", "users", "producers"):
        value, error = getattr(result, name)
        assert np.isnan([value, error]).tolist() == [[False, False, True]] * 2, name
        assert np.isnan(getattr(ends, name)).tolist() == [[False, False, True]] * 2, name


def blocks(number=30, seed=1):
    """Counts that differ much from block to block."""
    random = np.random.default_rng(seed)
    return random.integers(0, 20, (number, 3, 3)) * random.integers(0, 3, (number, 1, 1)) + 5 * np.eye(3, dtype=int)


def test_intervals_are_percentiles_of_estimates_over_blocks():
    counts, hectares = blocks(), np.array([50.0, 40.0, 10.0])
    times = np.concatenate(list(bootstrap.times_drawn(len(counts)))).astype(int)
    assert len(times) >= 1000
    drawn = [estimate(np.repeat(counts, each, axis=0).sum(axis=0), hectares) for each in times]
    ends = intervals(counts, hectares)
    for name in ("adjusted", "users", "producers", "overall"):
        values = [getattr(one, name).value for one in drawn]
        assert getattr(ends, name) == pytest.approx(np.percentile(values, [2.5, 97.5], axis=0)), name


def test_alike_blocks_leave_no_doubt_and_one_block_no_interval():
    counts, hectares = np.repeat(blocks(1), 10, axis=0), [50.0, 40.0, 10.0]
    point, ends = estimate(counts.sum(axis=0), hectares), intervals(counts, hectares)
    for name in ("adjusted", "users", "producers", "overall"):
        value = getattr(point, name).value
        assert getattr(ends, name) == pytest.approx(np.stack([value, value]))
    for few in (counts[:1], counts[:0]):
        assert all(np.isnan(values).all() for values in intervals(few, hectares))


def test_ground_without_samples_widens_the_intervals_by_all_of_it():
    counts = np.repeat([[[8, 2, 0], [1, 9, 0], [0, 3, 0]]], 6, axis=0)
    ends = intervals(counts, [50.0, 40.0, 10.0])
    known = np.array([50 * 8 / 9 + 40 * 2 / 14, 50 / 9 + 40 * 9 / 14, 40 * 3 / 14])
    assert ends.adjusted == pytest.approx(np.stack([known, known + 10]))
    right = np.array([50 * 8 / 9, 40 * 9 / 14, 0])
    assert ends.producers == pytest.approx(
        np.stack([right / (known + 10), [*(right / known)[:2], 10 / (known[2] + 10)]])
    )
    assert ends.overall == pytest.approx([right.sum() / 100, (right.sum() + 10) / 100])
    assert np.isnan(ends.users).tolist() == [[False, False, True]] * 2


def test_a_class_of_one_block_has_no_interval_of_its_accuracy():
    """Its area has one: in a third of the draws the block is missing, and its mapped ground may be anything."""
    counts = np.repeat([[[8, 2, 0], [1, 9, 0], [0, 0, 0]]], 6, axis=0)
    counts[0, 2, 2] = 4
    ends = intervals(counts, [50.0, 40.0, 10.0])
    assert np.isnan(ends.users[:, 2]).all() and np.isnan(ends.producers[:, 2]).all()
    assert ends.adjusted[:, 2].tolist() == [0, 10]
    assert np.isfinite(ends.users[:, :2]).all()


def test_blocks_cover_the_truth_where_independent_pixels_do_not():
    """Blocks of 400 pixels, each with its own error rates: the formula's ± misses the true area most of the time."""
    random = np.random.default_rng(3)
    missed, false = random.beta(1, 4, 2000), random.beta(1, 9, 2000)
    first = random.integers(50, 350, 2000)
    wrong, extra = random.binomial(first, missed), random.binomial(400 - first, false)
    counts = np.stack([first - wrong, wrong, extra, 400 - first - extra], axis=1).reshape(-1, 2, 2)
    hectares, true = counts.sum(axis=(0, 1)) / 100, first.sum() / 100
    by_block = by_formula = 0
    for _ in range(150):
        sample = counts[random.choice(2000, 60, replace=False)]
        value, error = (part[0] for part in estimate(sample.sum(axis=0), hectares).adjusted)
        low, high = intervals(sample, hectares).adjusted[:, 0]
        by_block += low <= true <= high
        by_formula += abs(value - true) <= 1.96 * error
    assert 0.88 <= by_block / 150 <= 0.99
    assert by_formula / 150 < 0.5


@pytest.mark.parametrize(
    ("counts", "hectares", "said"),
    [
        (np.eye(3, dtype=int), [1.0, 2.0], "areas of 2 classes"),
        (np.ones((2, 3), dtype=int), [1.0, 2.0], "expected one row and one column a class"),
        (np.array([[1, -1], [0, 1]]), [1.0, 2.0], "lowest count is -1"),
        (np.eye(2, dtype=int), [1.0, np.nan], "smallest area nan"),
    ],
)
def test_faulty_input(counts, hectares, said):
    with pytest.raises(DataError, match=said):
        estimate(counts, hectares)
    with pytest.raises(DataError, match=said):
        intervals(counts[None], hectares)
