"""The full-resolution U-Net takes any size and sees each pixel by itself; the stem changes no U-Net without one."""

import pytest
import torch
from scenes import CERRADATA

from cerraseg.models import checkpoint
from cerraseg.models.checkpoint import Blueprint, Segmenter, describe
from cerraseg.models.factory import build
from cerraseg.models.fullres import FullRes

UNET = {"encoder": "tu-mobilenetv3_small_100", "decoder_channels": [16, 16, 8]}


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [({}, 249_518), ({"size": "medium"}, 1_959_118), ({"size": "large"}, 7_805_326), ({"widths": [8, 8]}, 6_254)],
)
def test_sizes(settings, parameters):
    net = build("fullres", [12, 2], 14, settings, 128)
    assert sum(each.numel() for each in net.parameters()) == parameters


@pytest.mark.parametrize("size", [(16, 16), (32, 32), (50, 37)])
def test_any_size(size):
    assert FullRes(3, 5, widths=(4, 4, 4, 4), stem=6)(torch.zeros(2, 3, *size)).shape == (2, 5, *size)


def test_a_pixel_reaches_the_head_unchanged_by_its_neighbours():
    """With a head that reads the stem alone, a pixel's logits are the same in any picture."""
    torch.manual_seed(0)
    net = FullRes(3, 2, widths=(4, 4), stem=6).eval()
    with torch.no_grad():
        net.head.weight[:, :4] = 0
        images = torch.randn(2, 3, 16, 16)
        images[1, :, 5, 9] = images[0, :, 5, 9]
        one, other = net(images)
    torch.testing.assert_close(one[:, 5, 9], other[:, 5, 9])
    assert not torch.allclose(one[:, 5, 8], other[:, 5, 8])


def test_stem_beside_a_unet():
    plain, none, stem = (build("unet", [12, 2], 7, UNET | more, 128) for more in ({}, {"stem": 0}, {"stem": 32}))
    assert plain.state_dict().keys() == none.state_dict().keys()
    assert all(name.startswith(("encoder.", "decoder.", "segmentation_head.")) for name in plain.state_dict())
    assert stem(torch.zeros(2, 14, 64, 64)).shape == (2, 7, 64, 64)
    assert stem.head[0][0].in_channels == 8 + 32


@pytest.mark.parametrize(("model", "settings"), [("fullres", {"widths": [4, 8]}), ("unet", UNET | {"stem": 8})])
def test_checkpoint_gives_the_same_model(tmp_path, model, settings):
    blueprint = Blueprint(model, settings, "sar", "l1", describe(CERRADATA, "sar", "l1"))
    saved, images = Segmenter(blueprint).eval(), torch.randn(1, 2, 32, 32)
    checkpoint.save(tmp_path / "it.pt", blueprint, saved.net.state_dict(), {})
    loaded, found, _ = checkpoint.load(tmp_path / "it.pt")
    assert found.settings == settings
    assert torch.equal(loaded(images)[0], saved(images)[0])
