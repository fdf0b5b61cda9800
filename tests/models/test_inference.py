"""Decisions: the best class or, from the top down, the best class of the best L1 class."""

import numpy as np
import pytest
import torch
from scenes import CERRADATA

from cerraseg.models.inference import decide, device

PARENTS = CERRADATA.ancestors("l2")["l1"]


@pytest.mark.parametrize(("cuda", "mps", "kind"), [(False, True, "mps"), (False, False, "cpu"), (True, True, "cuda")])
def test_device_is_the_best_there_is(monkeypatch, cuda, mps, kind):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert device().type == kind


def test_parents_are_the_taxonomy():
    assert PARENTS == (0, 1, 1, 5, 3, 4, 4, 2, 2, 2, 2, 2, 6, 2)


def by_pixel(values, ancestors):
    """The decision from the top as a loop over plain numbers: the best class and its probability."""
    inside = range(len(values))
    for line in ancestors:
        sums = {above: sum(values[k] for k in inside if line[k] == above) for above in {line[k] for k in inside}}
        chosen = max(sums, key=lambda above: (sums[above], -above))
        inside = [k for k in inside if line[k] == chosen]
    best = max(inside, key=lambda k: (values[k], -k))
    return best, values[best]


def drawn(steps, seed, classes):
    """Probabilities (2, classes, 8, 8) with which sums in any order are exact, so that ties, of few steps, are ties."""
    parts = np.random.default_rng(seed).multinomial(steps, np.full(classes, 1 / classes), 128) / steps
    return parts.reshape(2, 8, 8, classes).transpose(0, 3, 1, 2).astype(np.float32)


@pytest.mark.parametrize("steps", [4096, 8])
@pytest.mark.parametrize("seed", range(3))
def test_hierarchical_is_the_best_child_of_the_best_parent(steps, seed):
    values = drawn(steps, seed, 14)
    positions, confidence = decide(torch.from_numpy(values), [PARENTS])
    assert (positions.dtype, confidence.dtype) == (torch.uint8, torch.uint8)
    for place in np.ndindex(2, 8, 8):
        best, share = by_pixel(values[place[0], :, *place[1:]].tolist(), [PARENTS])
        assert positions[place].item() == best
        assert confidence[place].item() == np.round(np.float32(share) * 100)
    best, confidence = (part.numpy() for part in decide(torch.from_numpy(values)))
    np.testing.assert_array_equal(np.take_along_axis(values, best[:, None], 1)[:, 0], values.max(1))
    np.testing.assert_array_equal(confidence, np.round(values.max(1) * 100))


@pytest.mark.parametrize("steps", [4096, 8])
def test_three_levels_are_decided_from_the_top_down(steps):
    """At the top a class without any below; the middle level's classes in another order than the top's."""
    top, middle = (2, 0, 2, 0, 3, 2, 0), (1, 4, 0, 2, 3, 1, 4)
    values = drawn(steps, 1, 7)
    positions, confidence = decide(torch.from_numpy(values), [top, middle])
    apart = 0
    for place in np.ndindex(2, 8, 8):
        shares = values[place[0], :, *place[1:]].tolist()
        best, share = by_pixel(shares, [top, middle])
        assert (positions[place].item(), confidence[place].item()) == (best, np.round(np.float32(share) * 100))
        apart += best != by_pixel(shares, [top])[0]
    assert apart  # the middle level changes some decisions
