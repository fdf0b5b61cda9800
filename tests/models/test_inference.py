"""Decisions: the best class or, from the top down, the best class of the best L1 class."""

import numpy as np
import pytest
import torch

from cerraseg.core.taxonomy import CHILDREN, LEVELS, PARENTS
from cerraseg.models.inference import decide


def test_parents_and_children_are_the_taxonomy():
    assert PARENTS == (0, 1, 1, 5, 3, 4, 4, 2, 2, 2, 2, 2, 6, 2)
    assert CHILDREN == ((0,), (1, 2), (7, 8, 9, 10, 11, 13), (4,), (5, 6), (3,), (12,))


def by_pixel(values):
    """The decision from the top as a loop over plain numbers: L1 and L2 class and its probability."""
    sums = [0.0] * 7
    for entry in LEVELS["l2"]:
        sums[entry.parent] += values[entry.id]
    coarse = sums.index(max(sums))
    inside = [entry.id for entry in LEVELS["l2"] if entry.parent == coarse]
    best = max(inside, key=lambda k: (values[k], -k))
    return coarse, best, values[best]


@pytest.mark.parametrize("steps", [4096, 8])
@pytest.mark.parametrize("seed", range(3))
def test_hierarchical_is_the_best_child_of_the_best_parent(steps, seed):
    """Of probabilities (2, 14, 8, 8) with which sums in any order are exact, so that ties, of few steps, are ties."""
    parts = np.random.default_rng(seed).multinomial(steps, np.full(14, 1 / 14), 128) / steps
    values = parts.reshape(2, 8, 8, 14).transpose(0, 3, 1, 2).astype(np.float32)
    ids, confidence = decide(torch.from_numpy(values), hierarchical=True)
    assert (ids.dtype, confidence.dtype) == (torch.uint8, torch.uint8)
    for place in np.ndindex(2, 8, 8):
        coarse, best, share = by_pixel(values[place[0], :, *place[1:]].tolist())
        assert (ids[place].item(), PARENTS[ids[place]]) == (best, coarse)
        assert confidence[place].item() == np.round(np.float32(share) * 100)
    best, confidence = (part.numpy() for part in decide(torch.from_numpy(values)))
    np.testing.assert_array_equal(np.take_along_axis(values, best[:, None], 1)[:, 0], values.max(1))
    np.testing.assert_array_equal(confidence, np.round(values.max(1) * 100))
