"""Edges follow from the mask; a tolerance forgives small shifts and nothing else."""

import numpy as np
import pytest

from cerraseg.data import masks
from cerraseg.evaluation import edges


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        ([[0, 0, 0, 0], [0, 0, 3, 3], [0, 0, 0, 0]], [[0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 1, 1]]),
        ([[0, 0, 0], [0, 0, 0], [0, 0, 1]], [[0, 0, 0], [0, 0, 1], [0, 1, 1]]),  # none across the diagonal
        ([[0, 255, 1], [0, 0, 1]], [[0, 255, 0], [0, 1, 1]]),  # none at ignored pixels, which stay ignored
    ],
)
def test_both_sides_of_a_class_change_are_edge(mask, expected):
    mask = np.array(mask, np.uint8)
    np.testing.assert_array_equal(masks.derive_edges(mask), expected)
    np.testing.assert_array_equal(masks.derive_edges(np.stack([mask, mask]))[1], expected)


def line(column):
    drawn = np.zeros((1, 9, 9), np.uint8)
    drawn[:, :, column] = 1
    return drawn


@pytest.mark.parametrize(("shift", "f1"), [(0, (1, 1, 1)), (1, (0, 1, 1)), (2, (0, 0, 1)), (3, (0, 0, 0))])
def test_tolerance_is_a_distance_in_pixels(shift, f1):
    found = edges.edge_scores(line(4), line(4 + shift))
    assert tuple(found[str(tolerance)]["f1"] for tolerance in edges.TOLERANCES) == f1


def test_precision_and_recall_are_told_apart():
    truth, both, nothing = line(4), line(4) | line(8), np.zeros((1, 9, 9), np.uint8)
    assert edges.edge_scores(truth, both)["1"] == {"precision": 0.5, "recall": 1.0, "f1": 0.666667}
    assert edges.edge_scores(both, truth)["1"] == {"precision": 1.0, "recall": 0.5, "f1": 0.666667}
    assert edges.edge_scores(truth, nothing)["2"] == {"precision": 0, "recall": 0, "f1": 0}
    assert edges.edge_scores(nothing, truth) == {}
    truth[:, :, 6:] = 255  # ignored pixels count on neither side
    assert edges.edge_scores(truth, both)["0"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0}


def test_tolerance_two_is_a_disc():
    truth, corner, knight = (np.zeros((1, 9, 9), np.uint8) for _ in range(3))
    truth[0, 4, 4] = corner[0, 5, 5] = knight[0, 6, 5] = 1
    assert [edges.edge_scores(truth, corner)[t]["f1"] for t in "012"] == [0, 0, 1]
    assert [edges.edge_scores(truth, knight)[t]["f1"] for t in "012"] == [0, 0, 0]


def test_blocks_and_patches_add_up():
    rng = np.random.default_rng(0)
    truth, prediction = (rng.integers(0, 2, (70, 8, 8), dtype=np.uint8) for _ in range(2))
    hits, found, true = (truth & prediction).sum(), prediction.sum(), truth.sum()
    assert edges.edge_scores(truth, prediction)["0"]["f1"] == pytest.approx(2 * hits / (found + true), abs=1e-6)
