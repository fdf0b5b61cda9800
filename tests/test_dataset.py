"""Batches carry the right bands and masks; order and augmentation follow from their seeds."""

import numpy as np
import torch
from conftest import opened

from cerraseg.dataset import EpochBatches, PackedPatches, augment, loader


def test_batch_holds_the_rows_bands_and_level(packed):
    store, rows = opened(packed), np.array([3, 8, 1])
    images, masks = PackedPatches(store, rows, "sar", ["l2", "edge_l2"])[[0, 2]]
    np.testing.assert_array_equal(images, store.images[[1, 3]][:, 12:])
    np.testing.assert_array_equal(masks, store.masks[[1, 3]][:, [1, 3]])
    assert (images.dtype, masks.dtype) == (torch.float32, torch.int64)


def test_order_depends_on_seed_and_epoch_alone():
    first, again, other = (EpochBatches(10, 4, seed) for seed in (1, 1, 2))
    assert list(first) == list(first) == list(again) != list(other)
    again.set_epoch(1)
    assert list(again) != list(first)
    assert sorted(k for batch in again for k in batch) == list(range(10))
    assert [len(batch) for batch in again] == [4, 4, 2]
    assert len(again) == 3


def test_workers_change_nothing(packed):
    data = PackedPatches(opened(packed), np.arange(12), "msi", ["l1"])
    plain, parallel = (list(loader(data, EpochBatches(12, 5, 0), workers)) for workers in (0, 2))
    for (images, masks), (other_images, other_masks) in zip(plain, parallel, strict=True):
        assert torch.equal(images, other_images)
        assert torch.equal(masks, other_masks)


def test_augment_gives_each_symmetry_and_keeps_image_and_mask_together():
    square = torch.arange(9.0).view(1, 1, 3, 3).expand(400, 2, 3, 3)
    torch.manual_seed(0)
    images, masks = augment(square, square[:, 0].long())
    seen = {tuple(image[0].flatten().tolist()) for image in images}
    expected = {
        tuple(torch.rot90(base, k).flatten().tolist())
        for base in (square[0, 0], square[0, 0].flip(-1))
        for k in range(4)
    }
    assert seen == expected
    assert len(expected) == 8
    assert torch.equal(images[:, 1].long(), masks)
    assert torch.equal(square[0, 0], torch.arange(9.0).view(3, 3))
