"""A checkpoint from elsewhere is taken whole, or refused."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from published import export_published

from cerraseg.config import recipes
from cerraseg.config.scenario import parse
from cerraseg.core.content import content
from cerraseg.core.errors import DataError
from cerraseg.core.taxonomy import MODALITIES
from cerraseg.models import checkpoint
from cerraseg.models.adopt import adopt
from cerraseg.models.checkpoint import Segmenter, make_blueprint
from cerraseg.models.factory import build
from cerraseg.models.transnuseg import TransNuSeg

UNET = {"encoder": "tu-mobilenetv3_small_100", "decoder_channels": (16, 16, 8)}
TRANSNUSEG = {"embed_dim": 12, "heads": (1, 2, 4)}
STATISTICS = {"bands": {band: {"mean": 1000.0 + k, "std": 10.0} for k, band in enumerate(MODALITIES["concat"])}}


def take(file: Path, name: str, recipe: str = "paper"):
    scenario = parse(name)
    output, origin = file.with_name("adopted.pt"), file.with_name("origin.json")
    adopt(file, scenario, recipes.RECIPES[recipe][scenario.model], UNET, STATISTICS, output, origin)
    return checkpoint.load(output), json.loads(origin.read_text())


def unet(folder: Path) -> tuple[Path, dict]:
    torch.manual_seed(0)
    state = build("unet", 12, 7, UNET).state_dict()
    torch.save(state, folder / "unet.pt")
    return folder / "unet.pt", state


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"epoch": 3, "model_state_dict": s},
                                  lambda s: {f"module.{name}": tensor for name, tensor in s.items()}])  # fmt: skip
def test_bare_unet_is_taken_as_released(tmp_path, wrap):
    file, state = unet(tmp_path)
    torch.save(wrap(state), file)
    (segmenter, blueprint, about), origin = take(file, "unet-msi-w-l1-released-0")
    assert (blueprint.model, blueprint.modality, blueprint.level, blueprint.mean) == ("unet", "msi", "l1", ())
    assert all(torch.equal(segmenter.net.state_dict()[name], tensor) for name, tensor in state.items())
    assert about == {"scenario": "unet-msi-w-l1-released-0", "origin": origin}
    assert origin == {"file": "unet.pt", **asdict(content(file))}


def test_recipe_of_a_bare_checkpoint_says_whether_to_normalise(tmp_path):
    file, _ = unet(tmp_path)
    (segmenter, _, _), _ = take(file, "unet-msi-w-l1-tuned-1", "tuned")
    images, mean = torch.full((1, 12, 128, 128), 1005.0), torch.arange(1000.0, 1012.0).view(1, 12, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(segmenter(images)[0], segmenter.net((images - mean) / 10))


def test_published_transnuseg_is_taken_with_its_own_dimensions(tmp_path):
    torch.manual_seed(0)
    model = TransNuSeg(2, 14, **TRANSNUSEG).eval()
    torch.save(export_published(model), tmp_path / "transnuseg.pt")
    (segmenter, blueprint, _), _ = take(tmp_path / "transnuseg.pt", "transnuseg-sar-nw-l2-released-0")
    assert blueprint.settings["embed_dim"] == 12 and blueprint.settings["sharing"] == "published"
    images = torch.randn(2, 2, 128, 128)
    with torch.no_grad():
        for found, expected in zip(segmenter(images), model(images), strict=True):
            torch.testing.assert_close(found, expected)


def test_cerraseg_checkpoint_keeps_its_normalisation(tmp_path):
    scenario = parse("unet-sar-nw-l1-tuned-5")
    statistics = {"bands": {"VV": {"mean": 3.0, "std": 2.0}, "VH": {"mean": 1.0, "std": 4.0}}}
    blueprint = make_blueprint(scenario, recipes.RECIPES["tuned"]["unet"], UNET, statistics)
    checkpoint.save(tmp_path / "own.pt", blueprint, Segmenter(blueprint).net.state_dict(), {"epoch": 3})
    (_, taken, _), _ = take(tmp_path / "own.pt", "unet-sar-nw-l1-paper-1")
    assert taken == blueprint
    with pytest.raises(DataError, match=r"holds a unet for sar and l1; expected unet for msi and l1"):
        take(tmp_path / "own.pt", "unet-msi-nw-l1-paper-1")


def test_own_model_is_taken_from_a_cerraseg_checkpoint_alone(tmp_path):
    scenario, recipe = parse("mine-sar-nw-l1-tuned-5", {"model": ["mine"]}), recipes.RECIPES["tuned"]["unet"]
    settings = {"architecture": "Linknet", "encoder": "resnet18", "options": {}, "fusion": "early"}
    blueprint = make_blueprint(scenario, recipe, settings, STATISTICS)
    state = Segmenter(blueprint).net.state_dict()
    checkpoint.save(tmp_path / "own.pt", blueprint, state, {"epoch": 3})
    torch.save(state, tmp_path / "bare.pt")
    given = (scenario, recipe, settings, STATISTICS, tmp_path / "adopted.pt", tmp_path / "origin.json")
    adopt(tmp_path / "own.pt", *given)
    assert checkpoint.load(tmp_path / "adopted.pt")[1] == blueprint
    with pytest.raises(DataError, match=r"bare.pt: a bare state dict; expected a CerraSeg checkpoint for mine-sar-"):
        adopt(tmp_path / "bare.pt", *given)


@pytest.mark.parametrize(
    ("channels", "classes", "encoder"), [(14, 7, {}), (12, 14, {}), (12, 7, {"encoder": "resnet18"})]
)
def test_another_scenarios_checkpoint_is_refused_with_the_section_to_set(tmp_path, channels, classes, encoder):
    torch.save(build("unet", channels, classes, UNET | encoder).state_dict(), tmp_path / "unet.pt")
    for model in ("unet", "transnuseg"):
        with pytest.raises(DataError, match=rf"(?s)do not fit {model}-msi-w-l1-released-0: .*Set the section {model}"):
            take(tmp_path / "unet.pt", f"{model}-msi-w-l1-released-0")
    assert not (tmp_path / "adopted.pt").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (b"", "not a checkpoint"),
        ({}, "not a state dict"),
        ([torch.zeros(1)], "not a state dict"),
        ({"segmentation_head.0.weight": torch.zeros(7, 3, 1, 1)}, "do not fit"),
        ({"patch_embed.proj.weight": torch.zeros(96), "output.weight": torch.zeros(7)}, "do not fit"),
        ({"blueprint": 3, "parameters": {}}, "not a state dict"),
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path, given, message):
    file = tmp_path / "file.pt"
    file.write_bytes(given) if isinstance(given, bytes) else torch.save(given, file)
    with pytest.raises(DataError, match=message):
        take(file, "unet-msi-w-l1-released-0")
