"""Each crop holds the pixel drawn for it, classes come by their share, and epochs have the length asked for."""

import numpy as np
import pytest

from cerraseg.training.order import EpochBatches, find_pixels, patches_of

SIZE = 32


@pytest.fixture
def masks():
    """Four patches of class 0, a square of 1 in the second, a pixel of 2 in the last, half of one ignored."""
    masks = np.zeros((4, SIZE, SIZE), np.uint8)
    masks[1, :8, :8] = 1
    masks[3, 31, 30] = 2
    masks[2, :16] = 255
    return masks


@pytest.mark.parametrize("balance", [0.0, 0.5])
def test_classes_are_drawn_by_a_power_of_their_share(masks, balance):
    rows = np.array([1, 2, 3])
    pixels = find_pixels(masks, rows, 4, balance, 0)
    counts = np.array([3 * SIZE**2 - 64 - 1 - SIZE * 16, 64, 1, 0])
    expected = np.where(counts > 0, np.maximum(counts, 1.0) ** balance, 0)
    np.testing.assert_allclose(pixels.chances, expected / expected.sum())
    assert np.diff(pixels.starts)[1:].tolist() == [64, 1, 0]
    patches, places = pixels.draw(4000, np.random.default_rng(1))
    drawn = masks[rows[patches], places // SIZE, places % SIZE]
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 4000, pixels.chances, atol=0.03)


def test_pixels_are_a_bounded_and_unbiased_choice(masks):
    seen = np.zeros(SIZE**2)
    for seed in range(300):
        pixels = find_pixels(masks, np.array([0]), 3, 0, seed)
        assert len(pixels.places) <= 64
        seen[pixels.places[:, 1]] += 1
    np.testing.assert_allclose(seen / 300, 1 / 16, atol=0.06)


def test_balanced_crops_hold_their_pixel(masks):
    pixels = find_pixels(masks, np.arange(4), 3, 0, 0)
    order = EpochBatches(4, 5, 1, draws=300, crop=(SIZE, 16), pixels=pixels)
    corners = np.concatenate(list(order))
    assert len(corners) == 300 and (corners[:, 1:] >= 0).all() and (corners[:, 1:] <= 16).all()
    classes = [set(np.unique(masks[p, top : top + 16, left : left + 16])) for p, top, left in corners]
    assert sum(2 in held for held in classes) == pytest.approx(100, abs=25)
    assert sum(1 in held for held in classes) == pytest.approx(100, abs=35)


def test_whole_patches_hold_the_drawn_class(masks):
    pixels = find_pixels(masks, np.arange(4), 3, 0, 0)
    drawn = np.concatenate(list(EpochBatches(4, 3, 1, draws=600, pixels=pixels)))
    found = np.bincount(drawn, minlength=4) / 600
    np.testing.assert_allclose(found, np.array([1, 1, 1, 1]) / 12 + np.array([0, 1, 0, 1]) / 3, atol=0.06)


def test_uniform_crops_take_every_patch_as_often():
    order = EpochBatches(4, 8, 1, crop=(32, 8))
    batches = list(order)
    corners = np.concatenate(batches)
    assert [len(batch) for batch in batches] == [8] * 8 and len(order) == 8
    assert np.bincount(corners[:, 0]).tolist() == [16] * 4
    assert corners[:, 1:].min() >= 0 and corners[:, 1:].max() <= 24
    assert all((np.diff(patches_of(batch)) >= 0).all() for batch in batches)


@pytest.mark.parametrize("draws", [3, 10])
def test_epoch_of_any_length_follows_from_seed_and_epoch(draws):
    order, again = (EpochBatches(4, 2, 5, draws=draws, epoch=7) for _ in range(2))
    first = np.concatenate(list(order))
    assert len(first) == draws and np.array_equal(first, np.concatenate(list(again)))
    again.epoch = 8
    assert not np.array_equal(first, np.concatenate(list(again)))
    counts = np.bincount(first, minlength=4)
    assert counts.max() - counts.min() <= 1
