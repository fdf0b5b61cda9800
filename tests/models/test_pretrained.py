"""An encoder starts from a file's parameters, whoever named them; its first layer by the stated formula."""

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from conftest import opened
from safetensors.torch import save_file
from scenes import CERRADATA, NAMES
from test_train import outputs

from cerraseg.config.custom_models import Pretrained
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
    "without counts": lambda state: {n: t for n, t in state.items() if not n.endswith("num_batches_tracked")},
    "in half precision": lambda state: {n: t.half() if t.is_floating_point() else t for n, t in state.items()},
}


@pytest.mark.parametrize("wrap", WRAPPED)
def test_every_tensor_of_the_encoder_is_the_files(tmp_path, wrap):
    state, net = resnet().state_dict(), linknet()
    torch.save(WRAPPED[wrap](state), tmp_path / "resnet18.pth")
    load_encoder(net, MSI, [Pretrained(tmp_path / "resnet18.pth")], COLOURS)
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
    """Though the file's first layer has their shape; a checkpoint of CerraSeg's names its own bands."""
    state, bands = resnet().state_dict(), ("B02", "B03", "B04")
    torch.save(state, tmp_path / "resnet18.pt")
    for name, own in (("own.pt", bands), ("turned.pt", bands[::-1])):
        data = {**CERRADATA.as_dict(), "sensors": {"msi": {"title": "MSI", "bands": [*own]}}}
        known = {"model": "unet", "settings": {}, "modality": "msi", "level": "l1", "dataset": data}
        torch.save({"blueprint": known, "parameters": prefixed("encoder.", state), "training": {}}, tmp_path / name)
    kernels = state["conv1.weight"]
    for name, given, expected in (
        ("resnet18.pt", COLOURS, kernels.flip(1)),
        ("resnet18.pt", (), kernels.mean(1, keepdim=True).expand_as(kernels)),
        ("own.pt", COLOURS, kernels),
        ("turned.pt", COLOURS, kernels.flip(1)),
    ):
        net = linknet(3)
        load_encoder(net, bands, [Pretrained(tmp_path / name)], given)
        torch.testing.assert_close(net.encoder.conv1.weight.detach(), expected)


@pytest.mark.parametrize("encoder", ["convnext_atto", "mobilenetv3_small_100"])
def test_timms_own_names_are_understood(tmp_path, encoder):
    torch.manual_seed(1)
    whole = timm.create_model(encoder, in_chans=12)
    save_file(whole.state_dict(), tmp_path / "timm.safetensors")
    net = build_smp([12], 7, architecture="FPN", encoder=f"tu-{encoder}")
    load_encoder(net, MSI, [Pretrained(tmp_path / "timm.safetensors")], COLOURS)
    images = torch.randn(1, 12, 64, 64)
    with torch.no_grad():
        expected = whole.eval().forward_intermediates(images, intermediates_only=True)
        found = net.encoder.eval()(images)
    torch.testing.assert_close(found[-1], expected[-1])
    torch.testing.assert_close(found[-2], expected[-2])


def test_late_fusion_starts_both_encoders(tmp_path):
    save_file(resnet().state_dict(), tmp_path / "resnet18.safetensors")
    net, kernels = linknet(12, 2, fusion="late"), resnet().conv1.weight
    load_encoder(
        net, CERRADATA.bands(), [Pretrained(tmp_path / "resnet18.safetensors", (), n) for n in (0, 1)], COLOURS
    )
    msi, sar = net.encoder.encoders
    assert torch.equal(msi.conv1.weight, adapt_bands(kernels, MSI, COLOURS))
    assert torch.equal(sar.conv1.weight, adapt_bands(kernels, ("VV", "VH"), COLOURS))
    assert torch.equal(msi.layer3[0].conv1.weight, sar.layer3[0].conv1.weight)


S2 = (*(f"B{band:02}" for band in range(1, 9)), "B8A", "B09", "B10", "B11", "B12")
"""The 13 bands of Sentinel-2 in their order."""


def test_thirteen_bands_give_twelve_the_same_features_as_with_b10_at_0(tmp_path):
    """By name, though the dataset's order is another; of radar beside them, kernels start at 0."""
    torch.manual_seed(3)
    whole = smp.encoders.get_encoder("resnet18", in_channels=13, weights=None).eval()
    torch.save(whole.state_dict(), tmp_path / "s2.pth")
    images = torch.randn(1, 14, 64, 64)
    thirteen = torch.zeros(1, 13, 64, 64)
    for place, band in enumerate(MSI):
        thirteen[:, S2.index(band)] = images[:, place]
    source = Pretrained(tmp_path / "s2.pth", ("b1", *S2[1:]))
    for bands, seen in ((MSI, images[:, :12]), (CERRADATA.bands(), images)):
        net = linknet(len(bands))
        load_encoder(net, bands, [source], COLOURS)
        with torch.no_grad():
            for found, expected in zip(net.encoder.eval()(seen)[1:], whole(thirteen)[1:], strict=True):
                torch.testing.assert_close(found, expected)


def test_each_sensor_starts_from_a_file_of_its_own(tmp_path):
    for name, channels in (("s2", 13), ("s1", 2)):
        torch.save(
            smp.encoders.get_encoder("resnet18", in_channels=channels, weights=None).state_dict(), tmp_path / name
        )
    s2, s1 = (torch.load(tmp_path / name)["conv1.weight"] for name in ("s2", "s1"))
    net = linknet(12, 2, fusion="late")
    sources = [Pretrained(tmp_path / "s2", S2), Pretrained(tmp_path / "s1", ("VH", "VV"), 1)]
    load_encoder(net, CERRADATA.bands(), sources, COLOURS)
    msi, sar = (encoder.conv1.weight for encoder in net.encoder.encoders)
    assert torch.equal(msi, s2[:, [S2.index(band) for band in MSI]]) and torch.equal(sar, s1.flip(1))


@pytest.mark.parametrize(
    ("named", "bands", "words"),
    [
        ((), MSI, "takes 13 bands of unknown names, the model has 12"),
        (S2[:12], MSI, "takes 13 bands, named are 12"),
        (S2, ("VV", "VH"), "some of the model's among them, VV, VH"),
    ],
)
def test_bands_that_do_not_fit_are_refused(named, bands, words, tmp_path):
    torch.save(smp.encoders.get_encoder("resnet18", in_channels=13, weights=None).state_dict(), tmp_path / "s2.pt")
    net, before = linknet(len(bands)), linknet(len(bands)).state_dict()
    with pytest.raises(DataError, match=words):
        load_encoder(net, bands, [Pretrained(tmp_path / "s2.pt", named)], COLOURS)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_another_encoders_file_is_refused_and_changes_nothing(tmp_path):
    torch.save(smp.encoders.get_encoder("mobilenet_v2", weights=None).state_dict(), tmp_path / "other.pt")
    net, before = linknet(), linknet().state_dict()
    with pytest.raises(DataError, match=r"other.pt: holds 0 of the encoder's 100 tensors by name and shape, not conv1"):
        load_encoder(net, MSI, [Pretrained(tmp_path / "other.pt")], COLOURS)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_a_training_starts_there_and_its_checkpoint_stands_alone(packed, tmp_path):
    """With another file, what a killed training left is not taken up."""
    file = tmp_path / "resnet18.pt"
    torch.save(resnet().state_dict(), file)
    settings = {"architecture": "Linknet", "encoder": "resnet18", "options": {}, "fusion": "early"}
    recipe = RECIPES["tuned"]["unet"]
    scenario = parse("mine-sar-nw-l1-tuned-1", NAMES | {"model": ["mine"]})
    plan = Plan(scenario, recipe, settings, CERRADATA, 1, 4, pretrained=(Pretrained(str(file)),))

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
