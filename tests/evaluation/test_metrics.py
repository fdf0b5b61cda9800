"""Counts against a plain loop, scores against hand-made counts; `test_benchmark.py` has the published ones."""

import numpy as np
import pytest

from cerraseg.core.errors import DataError
from cerraseg.evaluation import metrics

HAND_MADE = np.array([[6, 2, 0], [1, 3, 0], [4, 0, 0]])


def random_masks(classes: int, shape: tuple[int, ...] = (9, 16, 16)) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(7)
    truth = random.integers(0, classes, shape, dtype=np.uint8)
    truth[random.random(shape) < 0.1] = 255
    return truth, random.integers(0, classes, shape, dtype=np.uint8)


def counted_one_by_one(truth: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (truth[truth != 255], prediction[truth != 255]), 1)
    return counts


@pytest.mark.parametrize("classes", [1, 7, 14, 254])
def test_each_patch_counts_like_a_loop(classes, tmp_path):
    truth, prediction = random_masks(classes)
    np.save(tmp_path / "truth.npy", truth)
    counts = metrics.patch_confusions(np.load(tmp_path / "truth.npy", mmap_mode="r"), prediction, classes)
    assert counts.dtype == np.uint16 and counts.shape == (9, classes, classes)
    for patch in range(9):
        assert np.array_equal(counts[patch], counted_one_by_one(truth[patch], prediction[patch], classes))
    whole = metrics.confusion_matrix(*(masks.T for masks in (truth, prediction)), classes)  # strided
    assert whole.dtype == np.int64 and np.array_equal(counts.sum(axis=0), whole)


@pytest.mark.parametrize(("side", "dtype"), [(255, np.uint16), (256, np.uint32)])
def test_a_large_patch_does_not_overflow(side, dtype):
    patch = np.full((2, side, side), 3, dtype=np.uint8)
    counts = metrics.patch_confusions(patch, patch, 7)
    assert counts.dtype == dtype
    assert counts[:, 3, 3].tolist() == [side * side] * 2 and counts.sum() == 2 * side * side


@pytest.mark.parametrize(
    ("truth", "prediction"),
    [([0, 7], [0, 1]), ([0, 254], [0, 1]), ([0, 1], [0, 7]), ([0, 1], [0, 255]), ([0, 255], [0, 254])],
)
def test_unusable_masks_are_refused(truth, prediction):
    truths, predictions = np.array([truth], np.uint8), np.array([prediction], np.uint8)
    with pytest.raises(DataError):
        metrics.patch_confusions(truths, predictions, 7)
    with pytest.raises(ValueError, match="shorter"):
        metrics.patch_confusions(truths, predictions[:0], 7)


def test_known_answers():
    result = metrics.compute_scores(HAND_MADE)
    assert result.precision == pytest.approx([6 / 11, 3 / 5, 0])
    assert result.recall == pytest.approx([6 / 8, 3 / 4, 0])
    assert result.f1 == pytest.approx([12 / 19, 6 / 9, 0])
    assert result.iou == pytest.approx([6 / 13, 3 / 6, 0])
    assert result.support.tolist() == [8, 4, 4]
    assert result.predicted.tolist() == [11, 5, 0]
    assert result.accuracy == pytest.approx(9 / 16)
    assert result.macro_f1 == result.macro_f1_present == pytest.approx((12 / 19 + 6 / 9) / 3)
    assert result.weighted_f1 == pytest.approx((8 * 12 / 19 + 4 * 6 / 9) / 16)
    assert result.macro_precision == pytest.approx((6 / 11 + 3 / 5) / 3)
    assert result.macro_recall == pytest.approx((6 / 8 + 3 / 4) / 3)
    assert result.miou == pytest.approx((6 / 13 + 3 / 6) / 3)
    chance = (8 * 11 + 4 * 5) / 16**2
    assert result.kappa == pytest.approx((9 / 16 - chance) / (1 - chance))


def test_a_class_absent_from_the_truth_counts_only_in_the_published_mean():
    result = metrics.compute_scores([[3, 0, 1], [0, 4, 0], [0, 0, 0]])
    assert result.f1 == pytest.approx([6 / 7, 1, 0])
    assert result.macro_f1 == pytest.approx((6 / 7 + 1) / 3)
    assert result.macro_f1_present == pytest.approx((6 / 7 + 1) / 2)
    assert result.miou == pytest.approx((3 / 4 + 1) / 3)
    assert result.miou_present == pytest.approx((3 / 4 + 1) / 2)


def test_edge_cases_of_the_scores():
    result = metrics.compute_scores([[5, 0], [0, 0]])  # no agreement beyond chance
    assert (result.accuracy, result.kappa, result.macro_f1) == (1.0, 0.0, 0.5)
    with pytest.raises(DataError, match="no labelled pixel"):
        metrics.compute_scores(np.zeros((3, 3), int))


def test_a_pixel_without_data_has_neither_truth_nor_prediction():
    truth, prediction = random_masks(7)
    expected = metrics.patch_confusions(truth, prediction, 7)
    prediction[truth == 255] = 255
    assert np.array_equal(metrics.patch_confusions(truth, prediction, 7), expected)
