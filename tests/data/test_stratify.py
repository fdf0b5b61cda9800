"""Parts get their shares of classes and patches, rare classes included, and what a move gains is what it gains."""

import numpy as np
import pytest

from cerraseg.data.splits.stratify import Partition, share_out


def groups(seed, count=60):
    random = np.random.default_rng(seed)
    patches = random.integers(1, 40, count)
    counts = (16_000 * random.dirichlet([10, 5, 3, 1, 0.3, 0.05], count) * patches[:, None]).astype(np.int64)
    return random, counts, patches


def shares_of(parts, weights, number):
    return np.array([weights[parts == part].sum(axis=0) for part in range(number)]) / weights.sum(axis=0)


@pytest.mark.parametrize("seed", range(5))
def test_shares_are_about_the_wanted_and_better_than_chance(seed):
    random, counts, patches = groups(seed)
    wanted = np.array([0.1, 0.2, 0.7])
    task = Partition(counts, patches, wanted, 0.1)
    parts = share_out(task, random)
    np.testing.assert_allclose(shares_of(parts, patches, 3), wanted, atol=0.02)
    common = shares_of(parts, counts, 3)[:, :4]
    np.testing.assert_allclose(common, np.repeat(wanted[:, None], 4, axis=1), atol=0.05)
    assert task.cost(parts) < min(task.cost(random.choice(3, 60, p=wanted)) for _ in range(200))


@pytest.mark.parametrize(("holding", "holders"), [(2, [1, 1]), (3, [1, 2]), (5, [1, 2])])
def test_a_class_of_few_groups_is_in_each_part_that_it_can_be_in(holding, holders):
    random, counts, patches = groups(1)
    counts[:, 5] = 0
    counts[:holding, 5] = 100
    parts = share_out(Partition(counts, patches, [0.1, 0.9], 0.1, holders), random)
    assert (np.bincount(parts[:holding], minlength=2) >= holders).all()


def test_groups_without_labels_and_fewer_groups_than_parts():
    random = np.random.default_rng(0)
    unlabelled = Partition(np.zeros((9, 7), int), np.ones(9, int), [1 / 3] * 3, 0.1)
    assert np.bincount(share_out(unlabelled, random)).tolist() == [3, 3, 3]
    few = Partition(np.ones((2, 7), int), np.ones(2, int), [1 / 3] * 3, 0.5)
    assert len(set(share_out(few, random))) == 2
