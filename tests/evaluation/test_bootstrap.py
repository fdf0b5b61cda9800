"""The bootstrap over patches, against known answers and a plain loop."""

import numpy as np
import pytest

from cerraseg.evaluation import bootstrap, metrics

SCORES = ("macro_f1", "miou", "accuracy")


def patches(number: int = 40, classes: int = 3, seed: int = 1) -> np.ndarray:
    """Counts of patches that differ much: some all right, some all wrong, the last class in few of them."""
    random = np.random.default_rng(seed)
    counts = random.integers(0, 20, (number, classes, classes)) * random.integers(0, 3, (number, 1, 1))
    counts[4:, -1] = 0
    return counts.astype(np.uint16)


@pytest.mark.parametrize("counts", [patches(), np.diag([5, 5]) * np.eye(2, dtype=np.uint16)[:, :, None]])
def test_draws_score_like_the_metrics(counts):
    """Also where a class is in one patch alone, and so absent from a draw."""
    drawn = bootstrap.draws(counts, 50)
    weights = np.concatenate(list(bootstrap.times_drawn(len(counts), 50)))
    assert weights.shape == (50, len(counts)) and (weights.sum(axis=1) == len(counts)).all()
    for draw, weight in enumerate(weights.astype(int)):
        repeated = np.repeat(counts, weight, axis=0)
        expected = metrics.compute_scores(repeated.sum(axis=0, dtype=np.int64))
        for score in SCORES:
            assert drawn[score][draw] == pytest.approx(getattr(expected, score), abs=1e-12)


def test_accuracy_of_single_pixels_has_the_binomial_spread():
    """N patches of one pixel, 30 % right: the bootstrap's deviation is sqrt(p (1 - p) / N)."""
    right = np.arange(500) < 150
    counts = np.zeros((500, 2, 2), dtype=np.uint16)
    counts[right, 0, 0] = counts[~right, 0, 1] = 1
    accuracy = bootstrap.draws(counts, 4000)["accuracy"]
    deviation = (0.3 * 0.7 / 500) ** 0.5
    assert np.mean(accuracy) == pytest.approx(0.3, abs=3 * deviation / 4000**0.5)
    assert np.std(accuracy) == pytest.approx(deviation, rel=0.05)
    assert bootstrap.interval(accuracy) == pytest.approx((0.3 - 1.96 * deviation, 0.3 + 1.96 * deviation), abs=0.004)


def test_draws_depend_on_the_number_of_patches_only(monkeypatch):
    first, second = patches(), patches(seed=2)
    apart = [bootstrap.draws(counts, 30) for counts in (first, second)]
    together = bootstrap.paired_draws([first, second], 30)
    for alone, paired in zip(apart, together, strict=True):
        assert all(np.array_equal(alone[score], paired[score]) for score in SCORES)
    assert np.array_equal(bootstrap.draws(first, 100)["miou"][:30], apart[0]["miou"])
    monkeypatch.setattr(bootstrap, "_BLOCK", 7 * 40)
    assert np.array_equal(bootstrap.draws(first, 30)["miou"], apart[0]["miou"])


def test_p_is_twice_the_share_on_the_other_side_plus_one():
    first = np.arange(-10, 89) + 0.5
    result = bootstrap.compare(39.5, first, np.zeros(99))
    assert result.difference == 39.5
    assert [result.low, result.high] == bootstrap.interval(first).tolist()
    assert bootstrap.compare(39.5, first, np.zeros(99)).reverse() == (-39.5, -result.high, -result.low, result.p)
    assert result.p == pytest.approx(2 * (10 + 1) / 100)
    assert bootstrap.compare(-39.5, np.zeros(99), first).p == result.p
    assert bootstrap.compare(1, np.ones(999), np.zeros(999)).p == 2 / 1000
    assert bootstrap.compare(0, np.ones(999), np.ones(999)).p == 1


def test_holm_known_answer():
    assert bootstrap.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert bootstrap.holm([0.6, 0.5]).tolist() == [1, 1]
    assert bootstrap.holm([]).shape == (0,)


@pytest.mark.parametrize(("pairs", "least"), [(1, 0.02), (10, 0.02), (276, 0.02), (1250, 0.051)])
def test_holm_can_fall_below_a_twentieth(pairs, least):
    draws = bootstrap.draws_for(pairs)
    assert 1_000 <= draws <= 50_000
    assert bootstrap.holm([2 / (draws + 1)] + [1] * (pairs - 1))[0] <= least
