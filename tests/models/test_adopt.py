"""A checkpoint from elsewhere is taken whole, or refused."""

import copy
import json
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from published import export_published
from scenes import CERRADATA, NAMES, TRAINED

from cerraseg.config import recipes
from cerraseg.config.dataset import Dataset
from cerraseg.config.scenario import known_names, parse
from cerraseg.core.content import content
from cerraseg.core.errors import DataError
from cerraseg.models import checkpoint
from cerraseg.models.adopt import adopt
from cerraseg.models.checkpoint import Segmenter, make_blueprint
from cerraseg.models.factory import build
from cerraseg.models.transnuseg import TransNuSeg

UNET = {"encoder": "tu-mobilenetv3_small_100", "decoder_channels": (16, 16, 8)}
TRANSNUSEG = {"embed_dim": 12, "heads": (1, 2, 4)}
STATISTICS = {
    "bands": {
        band: {"mean": 1000.0 + k, "std": 10.0, "min": 0.0, "max": 9000.0} for k, band in enumerate(CERRADATA.bands())
    }
}
REGION = {
    "name": "region",
    "patch_size": 64,
    "sensors": {"opt": {"bands": ["B02", "B03", "B08"]}, "dem": {"bands": ["elevation"]}},
    "levels": {
        "l1": {"classes": [{"id": 3}, {"id": 15}]},
        "l2": {"classes": [{"id": 24, "parent": 3}, {"id": 33, "parent": 15}, {"id": 39, "parent": 3}]},
    },
}
"""A description with ids that have gaps, as plain values."""


def take(file: Path, name: str, recipe: str = "paper", data: Dataset = CERRADATA, statistics: dict = STATISTICS):
    scenario = parse(name, known_names(data))
    output, origin = file.with_name("adopted.pt"), file.with_name("origin.json")
    adopt(file, scenario, recipes.RECIPES[recipe][scenario.model], UNET, statistics, data, output, origin)
    return checkpoint.load(output), json.loads(origin.read_text())


def unet(folder: Path) -> tuple[Path, dict]:
    torch.manual_seed(0)
    state = build("unet", [12], 7, UNET, 128).state_dict()
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
    model = TransNuSeg(2, 14, image_size=128, **TRANSNUSEG).eval()
    torch.save(export_published(model), tmp_path / "transnuseg.pt")
    (segmenter, blueprint, _), _ = take(tmp_path / "transnuseg.pt", "transnuseg-sar-nw-l2-released-0")
    assert blueprint.settings["embed_dim"] == 12 and blueprint.settings["sharing"] == "published"
    images = torch.randn(2, 2, 128, 128)
    with torch.no_grad():
        for found, expected in zip(segmenter(images), model(images), strict=True):
            torch.testing.assert_close(found, expected)


def test_cerraseg_checkpoint_keeps_its_normalisation(tmp_path):
    scenario = parse("unet-sar-nw-l1-tuned-5", NAMES)
    statistics = {"bands": {band: of | {"mean": 990.0, "std": 12.0} for band, of in STATISTICS["bands"].items()}}
    blueprint = make_blueprint(scenario, recipes.RECIPES["tuned"]["unet"], UNET, statistics, CERRADATA)
    checkpoint.save(tmp_path / "own.pt", blueprint, Segmenter(blueprint).net.state_dict(), {"epoch": 3})
    (_, taken, _), _ = take(tmp_path / "own.pt", "unet-sar-nw-l1-paper-1")
    assert taken == blueprint and taken.mean == (990.0, 990.0)
    with pytest.raises(DataError, match=r"holds a unet for sar and l1; expected unet for msi and l1"):
        take(tmp_path / "own.pt", "unet-msi-nw-l1-paper-1")


def test_own_model_is_taken_from_a_cerraseg_checkpoint_alone(tmp_path):
    scenario, recipe = parse("mine-sar-nw-l1-tuned-5", NAMES | {"model": ["mine"]}), recipes.RECIPES["tuned"]["unet"]
    settings = {"architecture": "Linknet", "encoder": "resnet18", "options": {}, "fusion": "early"}
    blueprint = make_blueprint(scenario, recipe, settings, STATISTICS, CERRADATA)
    state = Segmenter(blueprint).net.state_dict()
    checkpoint.save(tmp_path / "own.pt", blueprint, state, {"epoch": 3})
    torch.save(state, tmp_path / "bare.pt")
    given = (scenario, recipe, settings, STATISTICS, CERRADATA, tmp_path / "adopted.pt", tmp_path / "origin.json")
    adopt(tmp_path / "own.pt", *given)
    assert checkpoint.load(tmp_path / "adopted.pt")[1] == blueprint
    with pytest.raises(DataError, match=r"bare.pt: a bare state dict; expected a CerraSeg checkpoint for mine-sar-"):
        adopt(tmp_path / "bare.pt", *given)


@pytest.mark.parametrize(
    ("channels", "classes", "encoder"), [(14, 7, {}), (12, 14, {}), (12, 7, {"encoder": "resnet18"})]
)
def test_another_scenarios_checkpoint_is_refused_with_the_section_to_set(tmp_path, channels, classes, encoder):
    torch.save(build("unet", [channels], classes, UNET | encoder, 128).state_dict(), tmp_path / "unet.pt")
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


def write_own(folder: Path, data: Dataset, statistics: dict, name: str, hierarchy: float = 0.0) -> Path:
    scenario = parse(name, known_names(data))
    recipe = replace(recipes.RECIPES["tuned"]["unet"], hierarchy=hierarchy)
    blueprint = make_blueprint(scenario, recipe, UNET, statistics, data)
    checkpoint.save(folder / "own.pt", blueprint, Segmenter(blueprint).net.state_dict(), {})
    return folder / "own.pt"


def changed(**parts) -> Dataset:
    values = copy.deepcopy(REGION)
    for path, value in parts.items():
        part, name, key = path.split("__") if "__" in path else ("", "", path)
        (values[part][name] if part else values)[key] = value
    return Dataset.of(values)


IDS = [{"id": 24, "parent": 3}, {"id": 39, "parent": 3}, {"id": 33, "parent": 15}]
PARENTS = [{"id": 24, "parent": 3}, {"id": 33, "parent": 3}, {"id": 39, "parent": 15}]


@pytest.mark.parametrize(
    ("changes", "hierarchy", "message"),
    [
        ({"sensors__opt__bands": ["B03", "B02", "B08"]}, 0.0, "bands B03, B02, B08; expected B02, B03, B08, as in reg"),
        ({"levels__l2__classes": IDS}, 0.0, "class ids 24, 39, 33; expected 24, 33, 39, as in region"),
        ({"patch_size": 32}, 0.0, "patch size 32; expected 64, as in region"),
        ({"levels__l2__classes": PARENTS}, 0.0, ""),
        ({"levels__l2__classes": PARENTS}, 1.0, "ids of ancestors at l1 3, 3, 15; expected 3, 15, 3, as in region"),
        ({"name": "elsewhere", "sensors__dem__bands": ["slope"]}, 0.0, ""),  # of what the model does not read
    ],
)
def test_checkpoint_of_other_data_is_refused(tmp_path, changes, hierarchy, message):
    other, run = changed(**changes), Dataset.of(REGION)
    known = {band: TRAINED["B02"] for band in (*other.bands(), *run.bands())}
    file = write_own(tmp_path, other, {"bands": known}, "unet-opt-nw-l2-tuned-1", hierarchy)
    refused = pytest.raises(DataError, match=rf"own\.pt was trained on other data, \w+: {message}")
    with refused if message else nullcontext():
        take(file, "unet-opt-nw-l2-tuned-1", data=run, statistics={"bands": known})
    assert (tmp_path / "adopted.pt").exists() != bool(message)


def test_checkpoint_from_before_descriptions_is_cerradatas(tmp_path):
    """It has no statistics to compare; a run of other data refuses it."""
    file = write_own(tmp_path, CERRADATA, STATISTICS, "unet-sar-nw-l1-tuned-1")
    held = torch.load(file, weights_only=True)
    for key in ("dataset", "statistics"):
        del held["blueprint"][key]
    torch.save(held, file)
    elsewhere = {"bands": {band: of | {"mean": 1e-3} for band, of in STATISTICS["bands"].items()}}
    (_, taken, _), _ = take(file, "unet-sar-nw-l1-tuned-1", statistics=elsewhere)
    assert taken.described.bands("sar") == ("VV", "VH") and taken.statistics == {}
    values = copy.deepcopy(REGION)
    values["sensors"]["sar"] = {"bands": ["VV", "VH"]}
    with pytest.raises(DataError, match=r"other data, CerraData-4MM: class ids 0, 1, 2, 3, 4, 5, 6; expected 3, 15,"):
        take(file, "unet-sar-nw-l1-tuned-1", data=Dataset.of(values))


def test_checkpoint_on_another_scale_is_refused_with_both_statistics(tmp_path):
    file = write_own(tmp_path, CERRADATA, {"bands": TRAINED}, "unet-concat-nw-l1-tuned-1")
    reflectance = {"mean": 0.2, "std": 0.05, "min": 0.01, "max": 0.9}
    ours = TRAINED | {band: reflectance for band in CERRADATA.bands("msi")}
    said = r"own\.pt was trained on msi bands .* B01 0\.2 \(0\.01 to 0\.9\), training 2000 \(100 to 9000\); B02 "
    with pytest.raises(DataError, match=said):
        take(file, "unet-concat-nw-l1-tuned-1", statistics={"bands": ours})
    assert not (tmp_path / "adopted.pt").exists()
    take(file, "unet-concat-nw-l1-tuned-1", statistics={"bands": TRAINED})
