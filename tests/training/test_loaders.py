"""The data set's own loaders, from its folders and from a results folder."""

import numpy as np
import pytest
import rasterio
import torch
from conftest import arrays, opened
from torch.utils.data import DataLoader, random_split

import cerraseg
from cerraseg.core.errors import ConfigError, DataError


def test_loaders_give_image_mask_and_edges(root):
    both, optical, radar = cerraseg.MMDataset(root), cerraseg.MSIDataset(root), cerraseg.SARDataset(root, level="l2")
    assert len(both) == 12
    image, mask, edges = both[0]
    assert image.shape == (14, 128, 128) and image.dtype == torch.float32
    assert mask.shape == edges.shape == (128, 128) and mask.dtype == edges.dtype == torch.int64
    assert torch.equal(optical[0][0], image[:12]) and torch.equal(radar[0][0], image[12:])
    assert mask.max() < 7 and radar[0][1].max() < 14 and set(edges.unique().tolist()) == {0, 1}


def test_results_folder_has_the_same_patches(root, packed, tmp_path):
    (tmp_path / "packed").mkdir()
    for path in arrays(packed):
        (tmp_path / "packed" / path.name).symlink_to(path)
    files, store = cerraseg.MMDataset(root), cerraseg.MMDataset(tmp_path)
    assert len(files) == len(store) == opened(packed).header.patches
    for one, other in zip(files, store, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("norm", ["0to1", "1to1"])
def test_norms_are_the_published_ones(root, norm):
    from cerraseg.config.normalisation import published_bands

    raw, found = cerraseg.SARDataset(root)[0][0].numpy(), cerraseg.SARDataset(root, norm=norm)[0][0].numpy()
    band = published_bands()["VV"]
    if norm == "0to1":
        wanted = (raw[0] - band["min"]) / (band["max"] - band["min"])
    else:
        wanted = (np.log(raw[0]) - np.log(band["mean"])) / np.log(band["std"])
    np.testing.assert_allclose(found[0], wanted, rtol=1e-4)


def test_the_data_sets_own_steps_work(root, tmp_path):
    """Loader, split, training, prediction, GeoTIFF."""
    data = cerraseg.MMDataset(root, norm="0to1")
    train, _ = random_split(data, [8, 4], torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    net, loss = torch.nn.Conv2d(14, 7, 3, padding=1), cerraseg.DiceLoss(num_classes=7)
    optimiser, losses = torch.optim.Adam(net.parameters(), 0.01), []
    for _ in range(3):
        for images, masks, _ in DataLoader(train, 4):
            optimiser.zero_grad()
            value = loss(net(images), masks, softmax=True)
            value.backward()
            optimiser.step()
            losses.append(value.item())
    assert losses[-1] < losses[0]
    classes = net(data[0][0][None]).argmax(1).to(torch.uint8).numpy()
    with rasterio.open(data.files[0]["msi"]) as patch:
        profile = patch.profile | {"count": 1, "dtype": "uint8"}
    with rasterio.open(tmp_path / "map.tif", "w", **profile) as file:
        file.write(classes)
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.crs == profile["crs"] and np.array_equal(file.read(), classes)


def test_misuse_is_told(root, tmp_path):
    with pytest.raises(ConfigError, match="norm"):
        cerraseg.MMDataset(root, norm="2to1")
    with pytest.raises(DataError, match="no folder of patches"):
        cerraseg.MMDataset(tmp_path / "nowhere")
    with pytest.raises(DataError, match="level l9"):
        cerraseg.MMDataset(root, level="l9")
