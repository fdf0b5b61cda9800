"""TransNuSeg computes what the released checkpoints compute, whatever the batch."""

import copy
import json
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from published import from_published

from cerraseg.config.recipes import check_transnuseg_size
from cerraseg.core.errors import ConfigError, DataError
from cerraseg.models.transnuseg import TransNuSeg, import_published

SAMPLE = Path(__file__).parents[2] / "reference/transnuseg"  # every 7th pixel of the reference logits
WHOLE = os.environ.get("CERRASEG_REFERENCE")
SHAPES = json.loads((SAMPLE / "transnuseg_state_dict.json").read_text())
SMALL = {"embed_dim": 24, "heads": (2, 4, 8), "image_size": 128}


def published(key):
    """A state dict with the published names, filled by the rule of reference/README.md."""
    state = {}
    for name, shape in SHAPES[key].items():
        if ".shared_qkv." in name:
            state[name] = state[name.replace("layers_up2.", "layers_up.").replace(".shared_qkv.", ".qkv.")]
        elif not name.endswith(("relative_position_index", "attn_mask")):
            drawn = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
            value = 0.05 * drawn.astype(np.float32) + ("norm" in name and name.endswith("weight"))
            state[name] = torch.tensor(value, dtype=torch.float32)
    return state


@pytest.mark.parametrize(("key", "seed", "channels"), [("7c_14ch", 20274, 14), ("14c_2ch", 20262, 2)])
def test_released_checkpoints_compute_the_reference_logits(key, seed, channels):
    model = from_published(published(key))
    step = 1 if WHOLE else 7
    reference = np.load((Path(WHOLE) / "transnuseg" if WHOLE else SAMPLE) / f"transnuseg_{key}.npz")
    two = np.random.default_rng(seed).standard_normal((2, channels, 128, 128)).astype(np.float32)
    six = np.random.default_rng(0).standard_normal((6, channels, 128, 128)).astype(np.float32)
    with torch.no_grad():
        for images, place in ((two, slice(2)), (np.concatenate([six[:5], two, six[5:]]), slice(5, 7))):
            logits = model(torch.from_numpy(images))
            for name, found in zip(("semantic_logits", "edge_logits"), logits, strict=True):
                np.testing.assert_allclose(found[place, :, ::step, ::step].numpy(), reference[name], rtol=0, atol=1e-4)


def test_torn_published_state_dict_is_refused():
    state = published("14c_2ch")
    state["layers_up2.1.blocks.0.attn.shared_qkv.bias"] = torch.zeros(1152)
    with pytest.raises(DataError, match=r"shared_qkv.bias differs from layers_up.1.blocks.0.attn.qkv.bias"):
        import_published(state)


def edge_change(sharing, decoder):
    """Largest change of (semantic, edge) logits when a projection of a decoder changes."""
    torch.manual_seed(0)
    model = TransNuSeg(2, 3, sharing=sharing, **SMALL).eval()
    images = torch.randn(1, 2, 128, 128)
    with torch.no_grad():
        before = model(images)
        getattr(model, decoder).stages[1].blocks[0].attn.qkv.weight.mul_(100)
        return [float((new - old).abs().max()) for new, old in zip(model(images), before, strict=True)]


class InFirstWindows(torch.nn.Module):
    """The stated rule on a whole batch: window after window, the other decoder's projection in 32, then one's own."""

    def __init__(self, own):
        super().__init__()
        self.own, (self.other,) = torch.nn.Linear(own.in_features, own.out_features), own.other
        self.own.load_state_dict(own.state_dict())

    def forward(self, windows):
        return torch.stack([(self.other if k < 32 else self.own)(window) for k, window in enumerate(windows)])


def test_edge_decoder_takes_the_first_32_windows_of_a_training_batch_from_the_other():
    torch.manual_seed(0)
    small = {"embed_dim": 6, "heads": (1, 1, 2), "image_size": 128}
    model, images = TransNuSeg(2, 3, drop_path=0.0, **small), torch.randn(32, 2, 128, 128)
    rule = copy.deepcopy(model).eval()
    for attention in rule.edge._attention():
        attention.qkv = InFirstWindows(attention.qkv)
    with torch.no_grad():
        expected = rule(images)
        for name, found, wanted in zip(("semantic", "edge"), model.train()(images), expected, strict=True):
            torch.testing.assert_close(found, wanted, msg=name)
        model.skip(1)  # the second half, computed on its own
        torch.testing.assert_close(model(images[16:])[1], expected[1][16:])
        alone = torch.cat([model.eval()(image[None])[1] for image in images[[0, 1, 2, 31]]])
        torch.testing.assert_close(alone[:2], expected[1][:2])  # 16 windows of 32 x 32 tokens each
        assert (alone[2:] - expected[1][[2, 31]]).abs().amax((1, 2, 3)).min() > 1e-3


def test_parameters_rates_and_beginnings_are_the_published_ones():
    model = TransNuSeg(14, 7, image_size=128)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 20_974_590
    blocks = [block for layer in model.layers[:3] for block in layer.blocks]
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in blocks] + [model.layers[3].drop_path.drop_prob]
    assert rates == pytest.approx([0.1 * k / 7 for k in range(7)])
    convolution = model.layers[3].mlp.dwconv.dwconv.requires_grad_(False)
    assert float(convolution.weight.std()) == pytest.approx(0.474, abs=0.01) and not convolution.bias.any()


@pytest.mark.parametrize("sharing", ["published", "heads"])
def test_decoders_share_as_the_mode_says(sharing):
    semantic, edge = edge_change(sharing, "semantic")
    assert semantic > 0 and edge > 0
    semantic, edge = edge_change(sharing, "edge")
    assert semantic == 0 and (edge > 0) == (sharing == "heads")


def test_half_of_the_heads_are_shared():
    model = TransNuSeg(2, 3, sharing="heads", **SMALL)
    taken = [module.qkv.taken.view(3, module.num_heads, -1) for module in model.edge._attention()]
    assert [int(mask[0, :, 0].sum()) for mask in taken] == [4, 4, 2, 2, 1, 1]
    assert all(torch.equal(mask[0], mask[1]) and torch.equal(mask[0], mask[2]) for mask in taken)


@pytest.mark.parametrize(("sharing", "idle"), [("published", True), ("heads", False)])
def test_every_parameter_that_is_trained_gets_a_gradient(sharing, idle):
    model = TransNuSeg(2, 3, sharing=sharing, edge_outputs=2, **SMALL).train()
    semantic, edge = model(torch.randn(1, 2, 128, 128))
    assert (semantic.shape, edge.shape) == ((1, 3, 128, 128), (1, 2, 128, 128))
    (semantic.square().mean() + edge.square().mean()).backward()
    without = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert bool(without) == idle and all(name.startswith("unused.") for name in without)


def test_copy_shares_within_itself():
    twin = copy.deepcopy(TransNuSeg(2, 3, **SMALL))
    assert twin.edge._attention()[0].qkv.other[0] is twin.semantic._attention()[0].qkv


def test_other_image_sizes_that_the_windows_divide():
    torch.manual_seed(0)
    model = TransNuSeg(2, 3, **SMALL).eval()
    large = torch.randn(1, 2, 256, 128)
    with torch.no_grad():
        before = model(large[:, :, :128])
        assert [logits.shape[-2:] for logits in model(large)] == [(256, 128), (256, 128)]
        assert all(map(torch.equal, before, model(large[:, :, :128])))
        built_large = TransNuSeg(2, 3, **SMALL | {"image_size": 64}, window=4).eval()
        assert built_large(large[:, :, :64, :64])[0].shape == (1, 3, 64, 64)


@pytest.mark.parametrize("size", [32, 64])
def test_small_images_have_small_windows(size):
    """Stages with fewer tokens than a window's side are one window of these; it takes twice the size, too."""
    torch.manual_seed(0)
    model = TransNuSeg(2, 3, **SMALL | {"image_size": size}, edge_outputs=2)
    windows = [stage.blocks[1].window_size[0] for stage in model.layers[:3]]
    assert windows == [min(8, size // 4 >> n) for n in range(3)] and model.step == size
    for side in (size, 2 * size):
        semantic, edge = model(torch.randn(2, 2, side, side))
        assert (semantic.shape, edge.shape) == ((2, 3, side, side), (2, 2, side, side))
    semantic.square().mean().backward()
    assert all(p.grad.isfinite().all() for p in model.semantic.parameters())


@pytest.mark.parametrize(
    ("window", "fitting"), [(8, {32, 64, 128, 256}), (4, {32, 64, 128, 192, 256}), (2, {*range(32, 257, 32)})]
)
def test_sizes_that_fit_are_those_that_can_be_built(window, fitting):
    for size in range(16, 257, 16):
        settings = {"heads": (1, 1, 1), "window": window}
        if size in fitting:
            check_transnuseg_size(size, **settings)
            model = TransNuSeg(1, 1, embed_dim=6, image_size=size, **settings)
            assert model(torch.zeros(1, 1, size, size))[0].shape == (1, 1, size, size)
            assert all(not side % w for side, w in zip(*stages(model, size), strict=True))
        else:
            with pytest.raises(ConfigError, match=rf"^patch_size: {size}; transnuseg .* a multiple of {16 * window}"):
                TransNuSeg(1, 1, embed_dim=6, image_size=size, **settings)


def stages(model, size):
    """Tokens and window, on a side, at each stage."""
    windows = [stage.blocks[0].window_size[0] for stage in model.layers[:3]]
    return [size // 4 >> n for n in range(3)], windows


def test_sizes_that_do_not_fit_are_named():
    with pytest.raises(ConfigError, match="images of 130 x 128 pixels; expected a multiple of 128"):
        TransNuSeg(2, 3, **SMALL)(torch.randn(1, 2, 130, 128))
    with pytest.raises(ConfigError, match=r"^patch_size: 96; .* it takes 32, 64 or a multiple of 128: change"):
        TransNuSeg(2, 3, image_size=96)
    with pytest.raises(ConfigError, match="stage 1 has 20 channels for 3 heads; expected a multiple: change embed_dim"):
        TransNuSeg(2, 3, image_size=128, embed_dim=10, heads=(2, 3, 4))
