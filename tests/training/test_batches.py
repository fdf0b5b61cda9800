"""Batches carry the right bands and masks, however they are loaded; order and augmentation follow from their seeds."""

import dataclasses

import numpy as np
import pytest
import torch
from conftest import opened
from scenes import CERRADATA

from cerraseg.core.errors import ConfigError
from cerraseg.training import batches as dataset
from cerraseg.training.batches import PackedPatches, Resident, Streamed, loaders
from cerraseg.training.order import EpochBatches

CPU = torch.device("cpu")
ROWS = np.array([1, 3, 8, 9, 11])


def doubled(images):
    return images * 2


@pytest.mark.parametrize("loading", [Streamed, Resident])
@pytest.mark.parametrize("readers", [1, 3])
def test_batches_hold_the_rows_bands_and_layers(packed, loading, readers):
    store = opened(packed)
    batches = [np.array([0, 2, 2]), np.array([1, 3, 4]), np.array([4])] * 3  # a patch drawn twice is there twice
    patches = PackedPatches(store, ROWS, ("VV", "VH"), ["l2", "edge_l2"])
    loader = loading(patches, batches, CPU, doubled, readers=readers)
    assert len(loader) == 9
    for _ in range(2):
        for batch, (images, masks) in zip(batches, loader, strict=True):
            rows = ROWS[batch]
            assert (images.dtype, masks.dtype) == (torch.float32, torch.uint8)
            np.testing.assert_array_equal(images, store.images[rows][:, 12:] * 2)
            np.testing.assert_array_equal(masks, store.masks[rows][:, [1, 3]])
    ((images, masks),) = loading(patches, [np.arange(5)], CPU, doubled, held=lambda n: slice(n // 2, n))
    np.testing.assert_array_equal(images, store.images[ROWS[2:], 12:] * 2)  # what a rank holds
    np.testing.assert_array_equal(masks[:, 0], store.masks[ROWS, 1])


@pytest.mark.parametrize("bands", [("VH", "VV"), ("B02", "B08", "VH"), ("B12", "VV")])
def test_bands_in_any_order_and_patches_of_any_size(packed, bands):
    store = opened(packed)
    small = dataclasses.replace(store, images=store.images[..., :64, :64], masks=store.masks[..., :64, :64])
    ((images, masks),) = Streamed(PackedPatches(small, ROWS, bands, ["l2"]), [np.arange(5)], CPU, doubled)
    places = [store.header.bands.index(band) for band in bands]
    np.testing.assert_array_equal(images, 2 * store.images[ROWS][:, places, :64, :64])
    np.testing.assert_array_equal(masks[:, 0], store.masks[ROWS, 1, :64, :64])


def test_resident_images_are_kept_as_the_first_layer_sees_them(packed):
    parts = PackedPatches(opened(packed), ROWS, CERRADATA.bands(), ["l1"]), [np.array([1, 2]), np.array([0, 4])]
    plain = Streamed(*parts, CPU, lambda x: (x - 3.3) / 1.7)
    half = Resident(*parts, CPU, lambda x: (x - 3.3) / 1.7, dtype=torch.bfloat16)
    for (images, masks), (kept, same) in zip(plain, half, strict=True):
        assert torch.equal(images.bfloat16(), kept)
        assert torch.equal(masks, same)


@pytest.mark.parametrize(
    ("loading", "free", "kind"),
    [("auto", 1.0, Resident), ("auto", 0.5, Streamed), ("streamed", 9.0, Streamed), ("resident", 1.0, Resident)],
)
def test_patches_stay_on_a_gpu_where_they_fit(packed, monkeypatch, loading, free, kind):
    patches = PackedPatches(opened(packed), ROWS, ("VV", "VH"), ["l1"])
    need = 5 * 128 * 128 * (2 * 4 + 1)
    monkeypatch.setattr(dataset, "Resident", lambda *_, **__: Resident)
    monkeypatch.setattr(dataset, "Streamed", lambda *_, **__: Streamed)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (int(free * need / 0.6) + 1, 0))
    how = {"dtype": torch.float32, "readers": 1, "held": slice}
    assert loaders([(patches, [])], loading, torch.device("cuda"), doubled, **how) == [kind]
    if loading != "resident":
        assert loaders([(patches, [])], loading, CPU, doubled, **how) == [Streamed]
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (need, 0))
    for device in (torch.device("cuda"), CPU):
        with pytest.raises(ConfigError, match=r"training.loading is resident"):
            loaders([(patches, [])], "resident", device, doubled, **how)


@pytest.mark.parametrize(
    ("patches", "smallest", "sizes"),
    [(9, 1, [4, 4, 1]), (9, 2, [4, 4]), (10, 2, [4, 4, 2]), (10, 3, [4, 4]), (8, 4, [4, 4]), (1, 2, [1])],
)
def test_last_batch_that_is_too_small_is_dropped(patches, smallest, sizes):
    order = EpochBatches(patches, 4, 1, smallest=smallest)
    assert [len(batch) for batch in order] == sizes and len(order) == len(sizes)
    assert order.length == sum(sizes)


@pytest.mark.parametrize("shares", [None, np.array([0.5, 0.25, 0.125, 0.125])])
def test_order_depends_on_seed_and_epoch_alone_and_follows_the_shares(shares):
    order, again, other = (EpochBatches(4, 3, seed, shares) for seed in (7, 7, 8))
    drawn = []
    for epoch in range(2000):
        order.epoch = epoch
        batches = list(order)
        assert [len(batch) for batch in batches] == [3, 1] and all((np.diff(batch) >= 0).all() for batch in batches)
        drawn.append(np.concatenate(batches).tolist())
    again.epoch = 1234  # as after a restart
    assert np.concatenate(list(again)).tolist() == drawn[1234] != drawn[0] != np.concatenate(list(other)).tolist()
    assert any(len(set(epoch)) < 4 for epoch in drawn) == (shares is not None)  # with replacement
    found = np.bincount(np.concatenate(drawn)) / 8000
    np.testing.assert_allclose(found, 0.25 if shares is None else shares, atol=0.02)


@pytest.mark.parametrize("loading", [Streamed, Resident])
@pytest.mark.parametrize("bands", [("VV", "VH"), ("B02", "VH")])
def test_crops_are_cut_where_their_corners_say(packed, loading, bands):
    store = opened(packed)
    batches = [np.array([[0, 0, 0], [2, 5, 7], [2, 96, 96]]), np.array([[4, 33, 1]])]
    patches = PackedPatches(store, ROWS, bands, ["l2", "edge_l2"], 32)
    places = [store.header.bands.index(band) for band in bands]
    for batch, (images, masks) in zip(batches, loading(patches, batches, CPU, doubled, readers=2), strict=True):
        for (position, top, left), image, mask in zip(batch, images, masks, strict=True):
            square = ..., slice(top, top + 32), slice(left, left + 32)
            np.testing.assert_array_equal(image, 2 * store.images[ROWS[position], places][square])
            np.testing.assert_array_equal(mask, store.masks[ROWS[position], [1, 3]][square])
    ((images, masks),) = loading(patches, batches[:1], CPU, doubled, held=lambda n: slice(1, n))
    assert len(images) == 2 and len(masks) == 3
    np.testing.assert_array_equal(images[0], 2 * store.images[ROWS[2], places, 5:37, 7:39])
