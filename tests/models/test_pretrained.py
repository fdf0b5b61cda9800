"""An encoder starts from a file's parameters, whoever named them; its first layer by the stated formula."""

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from conftest import opened
from safetensors.torch import save_file
from scenes import CERRADATA, NAMES
from test_train import outputs

from cerraseg.config.recipes import RECIPES
from cerraseg.config.scenario import parse
from cerraseg.core.errors import DataError
from cerraseg.models import checkpoint
from cerraseg.models.pretrained import adapt_bands, load_encoder
from cerraseg.models.smp import build_smp
from cerraseg.training import train as training
from cerraseg.training.plan import Plan

MSI = CERRADATA.bands("msi")
COLOURS = ("B04", "B03", "B02")


def resnet():
    torch.manual_seed(1)
    return smp.encoders.get_encoder("resnet18", weights=None)


def linknet(*channels, **further):
    torch.manual_seed(2)
    return build_smp(channels or [12], 7, architecture="Linknet", encoder="resnet18", **further)


def prefixed(prefix, state):
    return {prefix + name: tensor for name, tensor in state.items()}


WRAPPED = {
    "of the encoder": lambda state: state,
    "with a head": lambda state: state | {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)},
    "of a whole model": lambda state: prefixed("encoder.", state) | {"decoder.x": torch.zeros(1)},
    "wrapped": lambda state: {"epoch": 3, "state_dict": prefixed("module.model.", state)},
    "of CerraSeg": lambda state: {"blueprint": {}, "parameters": prefixed("encoder.", state), "training": {}},
    "without counts": lambda state: {n: t for n, t in state.items() if not n.endswith("num_batches_tracked")},
    "in half precision": lambda state: {n: t.half() if t.is_floating_point() else t for n, t in state.items()},
}


@pytest.mark.parametrize("wrap", WRAPPED)
def test_every_tensor_of_the_encoder_is_the_files(tmp_path, wrap):
    state, net = resnet().state_dict(), linknet()
    torch.save(WRAPPED[wrap](state), tmp_path / "resnet18.pth")
    load_encoder(net, MSI, tmp_path / "resnet18.pth", COLOURS)
    exact = {"rtol": 1e-3, "atol": 1e-3} if "half" in wrap else {"rtol": 0, "atol": 0}
    for name, tensor in net.encoder.state_dict().items():
        expected = adapt_bands(state[name], MSI, COLOURS) if name == "conv1.weight" else state[name]
        torch.testing.assert_close(tensor, expected, **exact)


def test_first_layer_takes_the_colours_and_the_mean():
    kernels = torch.randn(8, 3, 7, 7)
    adapted, mean = adapt_bands(kernels, MSI, COLOURS), kernels.mean(1)
    for place, band in enumerate(MSI):
        expected = {"B04": kernels[:, 0], "B03": kernels[:, 1], "B02": kernels[:, 2]}.get(band, mean)
        torch.testing.assert_close(adapted[:, place], expected * 3 / 12)
    torch.testing.assert_close(adapt_bands(kernels, ("VV", "VH"), COLOURS), torch.stack([mean, mean], 1) * 3 / 2)
    torch.testing.assert_close(adapt_bands(kernels[:, :1], ("VV", "VH"), COLOURS), kernels[:, [0, 0]] / 2)
    for bands in map(CERRADATA.bands, CERRADATA.modalities):  # where all bands are alike, what it gave before
        torch.testing.assert_close(adapt_bands(kernels, bands, COLOURS).sum(1), kernels.sum(1))


def test_colours_are_those_of_an_optical_picture():
    assert [CERRADATA.colours(modality) for modality in ("msi", "sar", "concat")] == [COLOURS, (), COLOURS]


def test_three_bands_take_the_colours_by_name(tmp_path):
    """Though the file's first layer has their shape; only a checkpoint of CerraSeg's has these very bands."""
    state, bands = resnet().state_dict(), ("B02", "B03", "B04")
    torch.save(state, tmp_path / "resnet18.pt")
    torch.save({"blueprint": {}, "parameters": prefixed("encoder.", state), "training": {}}, tmp_path / "own.pt")
    kernels = state["conv1.weight"]
    for name, given, expected in (
        ("resnet18.pt", COLOURS, kernels.flip(1)),
        ("resnet18.pt", (), kernels.mean(1, keepdim=True).expand_as(kernels)),
        ("own.pt", COLOURS, kernels),
    ):
        net = linknet(3)
        load_encoder(net, bands, tmp_path / name, given)
        torch.testing.assert_close(net.encoder.conv1.weight.detach(), expected)


@pytest.mark.parametrize("encoder", ["convnext_atto", "mobilenetv3_small_100"])
def test_timms_own_names_are_understood(tmp_path, encoder):
    torch.manual_seed(1)
    whole = timm.create_model(encoder, in_chans=12)
    save_file(whole.state_dict(), tmp_path / "timm.safetensors")
    net = build_smp([12], 7, architecture="FPN", encoder=f"tu-{encoder}")
    load_encoder(net, MSI, tmp_path / "timm.safetensors", COLOURS)
    images = torch.randn(1, 12, 64, 64)
    with torch.no_grad():
        expected = whole.eval().forward_intermediates(images, intermediates_only=True)
        found = net.encoder.eval()(images)
    torch.testing.assert_close(found[-1], expected[-1])
    torch.testing.assert_close(found[-2], expected[-2])


def test_late_fusion_starts_both_encoders(tmp_path):
    save_file(resnet().state_dict(), tmp_path / "resnet18.safetensors")
    net, kernels = linknet(12, 2, fusion="late"), resnet().conv1.weight
    load_encoder(net, CERRADATA.bands(), tmp_path / "resnet18.safetensors", COLOURS)
    msi, sar = net.encoder.encoders
    assert torch.equal(msi.conv1.weight, adapt_bands(kernels, MSI, COLOURS))
    assert torch.equal(sar.conv1.weight, adapt_bands(kernels, ("VV", "VH"), COLOURS))
    assert torch.equal(msi.layer3[0].conv1.weight, sar.layer3[0].conv1.weight)


def test_another_encoders_file_is_refused_and_changes_nothing(tmp_path):
    torch.save(smp.encoders.get_encoder("mobilenet_v2", weights=None).state_dict(), tmp_path / "other.pt")
    net, before = linknet(), linknet().state_dict()
    with pytest.raises(DataError, match=r"other.pt: holds 0 of the encoder's 100 tensors by name and shape, not conv1"):
        load_encoder(net, MSI, tmp_path / "other.pt", COLOURS)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_a_training_starts_there_and_its_checkpoint_stands_alone(packed, tmp_path):
    """With another file, what a killed training left is not taken up."""
    file = tmp_path / "resnet18.pt"
    torch.save(resnet().state_dict(), file)
    settings = {"architecture": "Linknet", "encoder": "resnet18", "options": {}, "fusion": "early"}
    recipe = RECIPES["tuned"]["unet"]
    scenario = parse("mine-sar-nw-l1-tuned-1", NAMES | {"model": ["mine"]})
    plan = Plan(scenario, recipe, settings, CERRADATA, 1, 4, pretrained=file)

    def train(name):
        made = outputs(tmp_path / name)
        parts = (packed / "split.csv", packed / "statistics.json", made, tmp_path / name / "resume")
        training.train(plan, opened(packed), *parts)
        return made.best

    one, again = train("one"), train("again")
    assert one.read_bytes() == again.read_bytes()
    torch.save({name: 2 * tensor for name, tensor in resnet().state_dict().items()}, file)
    assert train("other").read_bytes() != one.read_bytes()
    file.unlink()
    _, blueprint, _ = checkpoint.load(one)
    assert blueprint.settings == settings
