"""The bootstrap over patches and groups, against known answers and a plain loop."""

from statistics import NormalDist

import numpy as np
import pytest

from cerraseg.evaluation import bootstrap, metrics
from docs import interval_study


def draws(counts, count=bootstrap.DRAWS):
    return dict(
        zip(bootstrap.SCORES, bootstrap.scores(bootstrap.draw_sums(bootstrap.margins(counts), count)).T, strict=True)
    )


def patches(number: int = 40, classes: int = 3, seed: int = 1) -> np.ndarray:
    """Counts of patches that differ much: some all right, some all wrong, the last class in few of them."""
    random = np.random.default_rng(seed)
    counts = random.integers(0, 20, (number, classes, classes)) * random.integers(0, 3, (number, 1, 1))
    counts[4:, -1] = 0
    return counts.astype(np.uint16)


@pytest.mark.parametrize("counts", [patches(), np.diag([5, 5]) * np.eye(2, dtype=np.uint16)[:, :, None]])
def test_draws_score_like_the_metrics(counts):
    """Also where a class is in one patch alone, and so absent from a draw."""
    drawn = draws(counts, 50)
    weights = np.concatenate(list(bootstrap.times_drawn(len(counts), 50)))
    assert weights.shape == (50, len(counts)) and (weights.sum(axis=1) == len(counts)).all()
    for draw, weight in enumerate(weights.astype(int)):
        repeated = np.repeat(counts, weight, axis=0)
        expected = metrics.compute_scores(repeated.sum(axis=0, dtype=np.int64))
        for score in bootstrap.SCORES:
            assert drawn[score][draw] == pytest.approx(getattr(expected, score), abs=1e-12)


def test_accuracy_of_single_pixels_has_the_binomial_spread():
    """N patches of one pixel, 30 % right: the bootstrap's deviation is sqrt(p (1 - p) / N)."""
    right = np.arange(500) < 150
    counts = np.zeros((500, 2, 2), dtype=np.uint16)
    counts[right, 0, 0] = counts[~right, 0, 1] = 1
    accuracy = draws(counts, 4000)["accuracy"]
    deviation = (0.3 * 0.7 / 500) ** 0.5
    assert np.mean(accuracy) == pytest.approx(0.3, abs=3 * deviation / 4000**0.5)
    assert np.std(accuracy) == pytest.approx(deviation, rel=0.05)
    assert bootstrap.interval(accuracy) == pytest.approx((0.3 - 1.96 * deviation, 0.3 + 1.96 * deviation), abs=0.004)


def test_draws_depend_on_the_number_of_units_only(monkeypatch):
    first = draws(patches(), 100)["miou"]
    assert np.array_equal(draws(patches(), 30)["miou"], first[:30])
    monkeypatch.setattr(bootstrap, "_BLOCK", 7 * 40)
    assert np.array_equal(draws(patches(), 30)["miou"], first[:30])


def test_groups_are_drawn_whole():
    """Patches that repeat each other within a group say no more than one of them."""
    counts = np.repeat(patches(12), 5, axis=0)
    groups = np.repeat([f"block {group}" for group in range(12)], 5)
    order = np.random.default_rng(1).permutation(60)
    units = bootstrap.by_group(counts[order], groups[order])
    assert sorted(units[:, 0, 0]) == sorted(5 * patches(12)[:, 0, 0].astype(int)) and units.shape == (12, 3, 3)
    found, alone = bootstrap.score_intervals(units), bootstrap.score_intervals(counts)
    assert found["accuracy"][1] - found["accuracy"][0] > 1.8 * (alone["accuracy"][1] - alone["accuracy"][0])
    assert bootstrap.by_group(counts, None) is counts
    assert bootstrap.score_intervals(units[:1]) == {"macro_f1": None, "miou": None, "accuracy": None}


def test_bca_moves_the_percentiles_by_bias_and_skewness():
    """Efron (1987), by hand: 60 % of the draws below the value, acceleration of a skewed sample."""
    drawn, left_out = np.arange(1000.0)[:, None], -np.array([0, 0, 0, 1.0])[:, None] / 3
    skew = (3 * (-0.25) ** 3 + 0.75**3) / (6 * (3 * 0.25**2 + 0.75**2) ** 1.5)
    low, high = bootstrap.bca(drawn, np.array([599.5]), left_out, 1.96)[:, 0]
    normal = NormalDist()
    bias = normal.inv_cdf(0.6)
    for found, z in ((low, -1.96), (high, 1.96)):
        assert found == pytest.approx(999 * normal.cdf(bias + (bias + z) / (1 - skew * (bias + z))), abs=0.01)
    centred = bootstrap.bca(drawn, np.array([499.5]), np.zeros((4, 1)), 1.96)[:, 0]
    assert centred == pytest.approx(bootstrap.interval(drawn[:, 0]), abs=0.01)


@pytest.mark.parametrize(("units", "t"), [(5, 2.7764), (11, 2.2281), (31, 2.0423), (1001, 1.9623)])
def test_few_units_reach_farther_by_students_t(units, t):
    assert bootstrap.reach(units) == pytest.approx(t * (units / (units - 1)) ** 0.5, rel=0.005)


def test_coverage_is_what_was_simulated_and_between(monkeypatch, tmp_path):
    monkeypatch.setattr(bootstrap, "COVERAGE", tmp_path / "coverage.csv")
    shares = "groups,10,0.8\ngroups,1000,0.9\npatches,10,0.92\npatches of groups,10,0.7\n"
    (tmp_path / "coverage.csv").write_text(f"drawn,units,macro_f1\n{shares}")
    assert [bootstrap.coverage("groups", units) for units in (5, 10, 100, 5000)] == pytest.approx([0.8, 0.8, 0.85, 0.9])
    few, many, patches = (bootstrap.note(*of) for of in (("groups", 10), ("groups", 1000), ("patches", 60)))
    assert "over 10 groups, of which at most 80% held" in few and "too narrow" in few
    assert "over 1,000 groups, of which 90% held" in many and "too narrow" not in many
    assert "92%" in patches and "70% where neighbours are alike" in patches
    assert "no interval" in bootstrap.note("groups", 1)


@pytest.mark.parametrize(
    ("case", "level", "least", "most"),
    [
        (interval_study.Case("groups", 40, 4, 0.5), "l1", 0.8, 1),
        (interval_study.Case("patches", 60), "l2", 0.75, 1),
        (interval_study.Case("patches of groups", 60, 12, 0.9), "l2", 0, 0.7),
    ],
)
def test_intervals_cover_in_a_small_simulation(case, level, least, most, monkeypatch):
    """Of macro F1 with rare classes, better than percentiles do; far too seldom where patches are alike."""
    monkeypatch.setattr(interval_study, "POPULATION", 60_000)
    percentile, _, adopted = interval_study.covered(level, case, 40, interval_study.truth_of(level))[:, 0]
    assert max(least, percentile) <= adopted <= most


def test_p_is_twice_the_share_on_the_other_side_plus_one():
    drawn, left_out = np.arange(-10, 89) + 0.5, np.zeros(50)
    result = bootstrap.compare(39.0, drawn, left_out)
    assert result.difference == 39.0 and result.low < 0 < 39 < result.high
    assert result.reverse() == (-39.0, -result.high, -result.low, result.p)
    assert result.p == pytest.approx(2 * (10 + 1) / 100)
    assert bootstrap.compare(-39.0, -drawn, left_out).p == result.p
    assert bootstrap.compare(1, np.ones(999), left_out).p == 2 / 1000
    assert bootstrap.compare(0, np.zeros(999), left_out).p == 1
    alone = bootstrap.compare(1, np.ones(999), np.zeros(1))
    assert alone.p == 1 and np.isnan([alone.low, alone.high]).all()


def test_pairs_share_their_draws_and_seeds_are_averaged():
    first, second, third = (patches(seed=seed) for seed in (1, 2, 3))
    (pair,) = bootstrap.compare_all({"a": [first], "b": [second, third]}, [("a", "b")])
    drawn = [draws(counts)["macro_f1"] for counts in (first, second, third)]
    left_out = [
        [metrics.compute_scores(np.delete(counts, row, axis=0).sum(axis=0)).macro_f1 for row in range(40)]
        for counts in (first, second, third)
    ]
    scores = [metrics.compute_scores(counts.sum(axis=0)).macro_f1 for counts in (first, second, third)]
    difference, drawn, left_out = (
        each[0] - (each[1] + each[2]) / 2 for each in map(np.array, (scores, drawn, left_out))
    )
    assert pair == pytest.approx(bootstrap.compare(difference, drawn, left_out))


def test_holm_known_answer():
    assert bootstrap.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert bootstrap.holm([0.6, 0.5]).tolist() == [1, 1]
    assert bootstrap.holm([]).shape == (0,)


@pytest.mark.parametrize(("pairs", "least"), [(1, 0.02), (10, 0.02), (276, 0.02), (1250, 0.051)])
def test_holm_can_fall_below_a_twentieth(pairs, least):
    draws = bootstrap.draws_for(pairs)
    assert 1_000 <= draws <= 50_000
    assert bootstrap.holm([2 / (draws + 1)] + [1] * (pairs - 1))[0] <= least
