"""Tiles cover a side, and their weights sum to one."""

import numpy as np
import pytest

from cerraseg.mapping.map_scene import tile_starts, tile_weights


def test_starts():
    assert tile_starts(512, 0) == [0, 128, 256, 384]
    assert tile_starts(500, 0) == [0, 128, 256, 372]  # the last ends where the side ends
    assert tile_starts(320, 0.5) == [0, 64, 128, 192]
    assert tile_starts(128, 0.5) == tile_starts(70, 0.5) == tile_starts(1, 0) == [0]
    assert tile_starts(129, 0.5) == [0, 1]
    assert tile_starts(200, 0.9) == [0, 13, 26, 39, 52, 65, 72]


@pytest.mark.parametrize("overlap", [0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("length", [70, 128, 129, 500, 640])
def test_weights_sum_to_one(length, overlap):
    firsts = tile_starts(length, overlap)
    total = np.zeros(firsts[-1] + 128)
    for first, weight in zip(firsts, tile_weights(firsts), strict=True):
        total[first : first + 128] += weight
    np.testing.assert_allclose(total, 1, atol=1e-6)
