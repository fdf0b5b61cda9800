"""The section models: what is allowed is said before anything runs, and its names go everywhere."""

import re

import pytest
import segmentation_models_pytorch as smp
import yaml
from test_validate import REPOSITORY, SCHEMA, changed, fault

from cerraseg.config.custom_models import Pretrained, build_settings, pretrained_of
from cerraseg.config.recipes import RECIPES, recipe_of
from cerraseg.config.validate import check_config

LATE = {"architecture": "Unet", "encoder": "resnet18", "fusion": "late"}


def with_models(*chosen, extra=(), **models):
    return changed(models=models, baselines=[], scenarios__models=list(chosen), scenarios__extra=list(extra))


def test_schema_offers_exactly_the_architectures_of_the_library():
    entry = SCHEMA["properties"]["models"]["additionalProperties"]["properties"]
    assert entry["architecture"]["enum"] == [kind.__name__ for kind in smp.MODEL_ARCHITECTURES_MAPPING.values()]


def test_own_models_are_completed_and_name_scenarios(tmp_path, monkeypatch):
    (tmp_path / "resnet18.safetensors").touch()
    monkeypatch.setenv("PARAMETERS", str(tmp_path))
    mine = {"architecture": "FPN", "encoder": "resnet18", "pretrained": "$PARAMETERS/resnet18.safetensors"}
    config, scenarios = check_config(
        with_models("unet", "mine", extra=["late-concat-w-l2-tuned-3"], mine=mine, late=LATE | {"depth": "4"}), SCHEMA
    )
    assert [scenario.id for scenario in scenarios if scenario.model != "unet"] == [
        *(f"mine-{modality}-nw-l1-tuned-666" for modality in ("msi", "sar", "concat")),
        "late-concat-w-l2-tuned-3",
    ]
    assert not any(scenario.edges for scenario in scenarios)
    assert {recipe_of(scenario, RECIPES) for scenario in scenarios} == {RECIPES["tuned"]["unet"]}
    assert config["models"]["mine"]["pretrained"] == {"file": str(tmp_path / "resnet18.safetensors")}
    assert build_settings(config["models"]["mine"]) == {
        "architecture": "FPN", "encoder": "resnet18", "options": {}, "fusion": "early"
    }  # fmt: skip
    assert config["models"]["late"]["depth"] == 4


def test_files_are_those_of_the_modalitys_sensors(tmp_path):
    for name in ("s2", "s1"):
        (tmp_path / name).touch()
    s2, s1 = {"file": str(tmp_path / "s2"), "bands": ["B02", "B03"]}, str(tmp_path / "s1")
    of = {
        fusion: check_config(with_models("unet", a=LATE | {"fusion": fusion, "pretrained": given}), SCHEMA)[0][
            "models"
        ]["a"]
        for fusion, given in (("late", {"sar": s1, "msi": s2}), ("early", s2))
    }
    of_msi, of_sar = Pretrained(s2["file"], ["B02", "B03"]), Pretrained(s1)
    assert pretrained_of(of["late"], ["msi", "sar"]) == [of_msi, of_sar._replace(encoder=1)]
    assert pretrained_of(of["late"], ["sar"]) == [of_sar] and pretrained_of(LATE, ["msi", "sar"]) == []
    assert pretrained_of(of["early"], ["msi", "sar"]) == [of_msi]


def test_example_of_the_readme_is_valid(tmp_path, monkeypatch):
    monkeypatch.setenv("ENCODERS", str(tmp_path))
    for name in ("resnet18.safetensors", "sentinel1.pth", "sentinel2.pth"):
        (tmp_path / name).touch()
    text = (REPOSITORY / "config/README.md").read_text()
    given = yaml.safe_load(re.search("## Models of your own.*?```yaml\n(.*?)```", text, re.DOTALL)[1])
    models, extra = (given["scenarios"][key] for key in ("models", "extra"))
    _, scenarios = check_config(with_models(*models, extra=extra, **given["models"]), SCHEMA)
    assert {scenario.model for scenario in scenarios} == {"unet", *given["models"]}


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (with_models("lat", late=LATE), "scenarios.models: 'lat' is not allowed; did you mean 'late'?"),
        (with_models(unet=LATE), "models.unet: expected a new name"),
        (with_models(**{"U-Net": LATE}), "models.U-Net: expected a new name"),
        (with_models(a=LATE | {"architecture": "Unett"}), "models.a.architecture: 'Unett' is not allowed"),
        (with_models(a=LATE | {"fussion": "late"}), "models.a.fussion: unknown key; did you mean 'fusion'?"),
        (with_models(a=LATE | {"architecture": "DPT"}), "models.a.fusion: late"),
        (with_models(a=LATE | {"options": {"classes": 3}}), "models.a.options.classes: it follows"),
        (with_models(a=LATE | {"options": {"encoder_weights": "x"}}), "models.a.options.encoder_weights: no model hub"),
        (with_models(a=LATE | {"pretrained": "/no/such.pt"}), "models.a.pretrained: /no/such.pt: no such file"),
        (with_models(a=LATE | {"pretrained": "$NOT_SET_HERE/x"}), "models.a.pretrained: $NOT_SET_HERE/x: the environ"),
        (with_models(a=LATE | {"pretrained": {"msi": "/no/such.pt"}}), "models.a.pretrained.msi: /no/such.pt: no such"),
        (with_models(a=LATE | {"pretrained": {"bands": ["B02"]}}), "models.a.pretrained"),
        (with_models("unet", a=LATE | {"pretrained": {"mis": __file__}}), "models.a.pretrained: 'mis' is not allowed"),
        (
            with_models("a", a=LATE | {"fusion": "early", "pretrained": {"msi": __file__, "sar": __file__}}),
            "models.a.pretrained: a-concat-nw-l1-tuned-666 has one encoder",
        ),
        (with_models("late", late=LATE), "scenarios: late-msi-nw-l1-tuned-666 has one sensor"),
        (with_models(extra=["a-concat-nw-l1-released-0"], a=LATE), "a-concat-nw-l1-released-0: no checkpoint"),
        (with_models(extra=["b-concat-nw-l1-tuned-1"], a=LATE), "model 'b' is unknown"),
    ],
)
def test_error_names_its_key(config, key):
    assert key in fault(config)
