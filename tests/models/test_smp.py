"""Every architecture of the library trains on our patches; late fusion looks at each sensor by itself."""

import pytest
import segmentation_models_pytorch as smp
import torch
from scenes import CERRADATA

from cerraseg.core.errors import ConfigError
from cerraseg.models import checkpoint
from cerraseg.models.checkpoint import Blueprint, Segmenter, describe
from cerraseg.models.factory import build
from cerraseg.models.preflight import USUAL_ENCODERS
from cerraseg.models.smp import ARCHITECTURES, build_smp

SMALL = "tu-mobilenetv3_small_100"
DECODERS = {  # small ones, where the library's are large
    "Unet": {"decoder_channels": [16] * 5},
    "UnetPlusPlus": {"decoder_channels": [16] * 5},
    "MAnet": {"decoder_channels": [16] * 5, "decoder_pab_channels": 8},
    "FPN": {"decoder_pyramid_channels": 32, "decoder_segmentation_channels": 32},
    "PSPNet": {"psp_out_channels": 16},
    "DeepLabV3": {"decoder_channels": 16},
    "DeepLabV3Plus": {"decoder_channels": 16},
    "UPerNet": {"decoder_channels": 16},
    "Segformer": {"decoder_segmentation_channels": 16},
    "DPT": {
        "dynamic_img_size": True, "embed_dim": 24, "num_heads": 2,
        "decoder_fusion_channels": 16, "decoder_intermediate_channels": [16] * 4,
    },
}  # fmt: skip


def settings(architecture, fusion="early", **further):
    encoder = "tu-vit_tiny_patch16_224" if architecture == "DPT" else SMALL
    options = DECODERS.get(architecture, {})
    return {"architecture": architecture, "encoder": encoder, "options": options, "fusion": fusion} | further


@pytest.mark.parametrize("fusion", ["early", "late"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_trains_and_is_read_back(tmp_path, architecture, fusion):
    if (architecture, fusion) == ("DPT", "late"):
        pytest.skip("refused: its decoder takes tokens too")
    level, classes = ("l1", 7) if fusion == "early" else ("l2", 14)
    torch.manual_seed(0)
    blueprint = Blueprint("mine", settings(architecture, fusion), "concat", level, describe(CERRADATA, "concat", level))
    segmenter = Segmenter(blueprint).to(memory_format=torch.channels_last)
    images = torch.randn(2, 14, 128, 128)
    (logits,) = segmenter(images)
    assert logits.shape == (2, classes, 128, 128)
    logits.square().mean().backward()
    kernels = [p for p in segmenter.net.encoder.parameters() if p.ndim == 4 and p.shape[1] in (2, 12, 14)]
    used = [kernel.shape[1] for kernel in kernels if kernel.grad.abs().sum() > 0]
    assert used == ([14] if fusion == "early" else [12, 2])
    checkpoint.save(tmp_path / "a.pt", blueprint, segmenter.net.state_dict(), {})
    loaded, found, _ = checkpoint.load(tmp_path / "a.pt")
    assert found == blueprint
    with torch.no_grad():
        torch.testing.assert_close(loaded(images[:1]), segmenter.eval()(images[:1]))


def test_early_fusion_is_the_librarys_model_bit_by_bit():
    torch.manual_seed(3)
    mine = build_smp([12], 7, architecture="Linknet", encoder="resnet18", depth=4)
    torch.manual_seed(3)
    theirs = smp.Linknet("resnet18", encoder_depth=4, encoder_weights=None, in_channels=12, classes=7)
    images = torch.randn(2, 12, 64, 64)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    assert torch.equal(mine(images), theirs(images))


@pytest.mark.parametrize("encoder", USUAL_ENCODERS)
@pytest.mark.parametrize("depth", [3, 4, 5])
def test_encoders_that_need_no_trial_are_built_at_any_depth(encoder, depth):
    """Of patches of any size, too."""
    with torch.device("meta"):
        net = build("unet", [2], 7, {"encoder": encoder, "decoder_channels": [16] * depth}, 50)
        assert net(torch.zeros(2, 2, 50, 50)).shape == (2, 7, 50, 50)
    assert len(net.decoder.blocks) == depth


@pytest.mark.parametrize("encoder", ["resnet18", "mit_b0", "tu-convnext_atto", "tu-vgg11"])
def test_late_fusion_begins_as_the_mean_of_both_encoders_and_stacks_the_images(encoder):
    """Of encoders whose first features are the images, are empty, or are learned at full resolution."""
    torch.manual_seed(0)
    net = build_smp([12, 2], 7, architecture="Unet", encoder=encoder, fusion="late").eval()
    whole = build_smp([12, 2], 7, architecture="Unet", encoder=encoder).encoder.eval()
    images = torch.randn(1, 14, 64, 64)
    msi, sar = net.encoder.encoders
    with torch.no_grad():
        joined, alone = net.encoder(images), whole(images)
        parts = list(zip(msi(images[:, :12]), sar(images[:, 12:]), strict=True))
    assert [tuple(scale.shape) for scale in joined] == [tuple(scale.shape) for scale in alone]
    assert (net.encoder.out_channels, net.encoder.output_stride) == (list(whole.out_channels), whole.output_stride)
    for scale, (optical, radar) in zip(joined, parts, strict=True):
        stacked = scale.shape[1] in (0, 14)
        expected = torch.cat([optical, radar], 1) if stacked else (optical + radar) / 2
        torch.testing.assert_close(scale, expected)


def test_late_fusion_joins_any_number_of_sensors():
    torch.manual_seed(0)
    net = build_smp([4, 2, 1], 5, architecture="Unet", encoder=SMALL, options=DECODERS["Unet"], fusion="late").eval()
    images = torch.randn(1, 7, 64, 64)
    with torch.no_grad():
        assert net(images).shape == (1, 5, 64, 64)
        deepest = net.encoder(images)[-1]
        alone = [e(part)[-1] for e, part in zip(net.encoder.encoders, images.split([4, 2, 1], 1), strict=True)]
    torch.testing.assert_close(deepest, torch.stack(alone).mean(0))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"encoder": "resnet19"}, r"encoder: 'resnet19' is unknown; did you mean 'resnet1.'"),
        ({"architecture": "Unett"}, r"architecture: 'Unett'.*'Unet'"),
        ({"encoder": "resnet18", "options": {"decoder_chanels": [16] * 5}}, r"options\.decoder_chanels"),
        ({"options": {"decoder_chanels": [16] * 5}}, "'decoder_chanels'"),
        ({"options": {"decoder_channels": [16, 8]}}, "`decoder_channels` for 2"),
        ({"depth": 7}, r"depth should be in range \[1, 5\]"),
        ({"fusion": "late"}, "fusion: late joins sensors, got one"),
        ({"architecture": "Linknet", "encoder": "mit_b0", "options": {}}, "`mit_b0` is not supported for Linknet"),
    ],
)
def test_what_the_library_cannot_build_is_explained_with_its_key(changes, key):
    with pytest.raises(ConfigError, match=rf"models\.mine\.(.*){key}"):
        build("mine", [2], 7, settings("Unet") | changes, 128)
