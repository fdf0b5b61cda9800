"""What the rules look up of a configuration."""

import hashlib

import pytest
import yaml

from cerraseg.config.dataset import Dataset
from cerraseg.config.validate import check_config
from cerraseg.core.layout import SOURCE
from cerraseg.orchestration.experiment import Experiment

SCHEMA = yaml.safe_load((SOURCE / "workflow/schemas/config.schema.yaml").read_text())
TUNED, SECOND = "unet-concat-nw-l1-tuned-1", "unet-msi-nw-l1-tuned-1"
RELEASED = "transnuseg-sar-nw-l2-released-0"
SCENE = {"name": "unseen", "msi": "data/simulated/scene/msi.tif", "sar": "data/simulated/scene/sar.tif"}


def experiment(**changes) -> Experiment:
    lists = {"models": ["unet"], "modalities": ["concat"], "weightings": ["nw"], "levels": ["l1"], "recipes": ["tuned"]}
    given = {"source": "simulate", "baselines": [], "scenarios": lists | {"seeds": [1]}, **changes}
    config, scenarios = check_config(given, SCHEMA)
    return Experiment(config, SCHEMA, scenarios, Dataset.of(config["dataset"]))


def with_extra(*ids: str, **changes) -> Experiment:
    lists = {name: [] for name in ("models", "modalities", "weightings", "levels", "recipes", "seeds")}
    return experiment(scenarios=lists | {"extra": list(ids)}, **changes)


def test_models_are_scenarios_or_their_folds():
    assert list(experiment().models) == [TUNED]
    folded = experiment(split={"scheme": "kfold", "folds": 3, "buffer_km": 2})
    assert list(folded.models) == [f"{TUNED}/fold{fold}" for fold in (1, 2, 3)] == folded.trained
    assert list(folded.scenarios) == [TUNED] and folded.scenario(f"{TUNED}/fold2").fold == 2
    assert folded.predicted(TUNED) == "all" and folded.predicted(f"{TUNED}/fold2") == "test"
    assert "buffer_km" not in folded.split and folded.fold_split["buffer_km"] == 2
    assert experiment().fields(TUNED)["fold"] == 0


def test_the_baseline_is_the_pixel_wise_one_of_the_same_bands_level_and_fold():
    pixel = "pixel-concat-nw-l1-baseline-1"
    run = experiment(baselines=["pixel", "gaussian"])
    assert [run.baseline(id_) for id_ in (TUNED, "gaussian-concat-nw-l1-baseline-1", pixel)] == [pixel, pixel, ""]
    assert experiment().baseline(TUNED) == ""
    folded = experiment(baselines=["pixel"], split={"scheme": "kfold", "folds": 3, "buffer_km": 2})
    assert folded.baseline(f"{TUNED}/fold2") == f"{pixel}/fold2"


def test_checkpoints_are_trained_released_or_the_users_own(tmp_path):
    own = tmp_path / "own.pt"
    own.touch()
    given = {"checkpoints": {SECOND: str(own)}, "released": {"source": "local", "folder": str(tmp_path)}}
    run = with_extra(TUNED, RELEASED, SECOND, unet={"encoder": "resnet18"}, **given)
    assert run.trained == [TUNED] and run.adopted == [RELEASED, SECOND] and run.released == [RELEASED]
    assert run.model_settings(TUNED)["encoder"] == "resnet18"
    assert run.model_settings(RELEASED) == run.defaults("transnuseg")


def test_recipes_and_own_models_are_looked_up(tmp_path):
    file = tmp_path / "encoder.pt"
    file.write_bytes(b"parameters")
    model = {"architecture": "Unet", "encoder": "resnet18", "pretrained": str(file)}
    recipes = {"both": {"from": "tuned", "hierarchy": 1.0}}
    name = "late-concat-nw-l2-both-1"
    run = with_extra(TUNED, name, models={"late": model}, recipes=recipes)
    assert run.hierarchical(name) and not run.hierarchical(TUNED)
    assert run.model_settings(name)["encoder"] == "resnet18" and "pretrained" not in run.model_settings(name)
    assert (run.pretrained(name), run.pretrained(TUNED), run.pretrained_digest(TUNED)) == ([(str(file), (), 0)], [], "")
    assert run.pretrained_digest(name) == [(hashlib.sha256(b"parameters").hexdigest(), [], 0)]


@pytest.mark.parametrize(
    ("changes", "label", "published"),
    [
        ({}, "simulated landscape", False),
        ({"source": "kaggle"}, "CerraData-4MM", True),
        ({"source": "kaggle", "kaggle": {"dataset": "a/copy"}}, "a/copy", True),
        ({"source": "local", "roots": ".", "label": "CerraData-4MM"}, "CerraData-4MM", True),
        ({"source": "local", "roots": ".", "label": "my patches"}, "my patches", False),
    ],
)
def test_data_are_labelled(changes, label, published, root, monkeypatch):
    monkeypatch.chdir(root)
    run = experiment(**changes)
    assert (run.label, run.published_data) == (label, published)


def test_scenes_are_looked_up(tmp_path):
    raster = tmp_path / "msi.tif"
    raster.touch()
    given = {"name": "given", "msi": str(raster), "date": "2021-08-01"}
    run = with_extra(TUNED, SECOND, scenes=[SCENE, given])
    assert run.maps == [("unseen", TUNED), ("unseen", SECOND), ("given", SECOND)]
    assert (run.scene_sensors("unseen"), run.scene_sensors("given")) == (["msi", "sar"], ["msi"])
    assert (run.is_simulated("unseen"), run.is_simulated("given")) == (True, False)
    assert run.scene_label("unseen") == "simulated landscape"
    assert run.scene_label("given") == "scene given, models trained on simulated landscape"
    image = {"files": [str(raster)], "bands": [], "nodata": None, "mask": None}
    assert run.scene_settings("given") == {"name": "given", "images": {"msi": image}}
    assert run.scene_images("unseen") == [SCENE["msi"], SCENE["sar"]]  # though not simulated yet
    assert run.scene_images("given") == [str(raster)] and run.scene_reference("given") == []
    raster.unlink()  # as in a clone that has its maps from DVC
    assert run.scene_images("given") == []
    assert not run.map_settings.keys() & {"patches", "geotiffs"} and "overlap" in run.map_settings


def test_baselines_are_trained_without_settings_of_the_configuration():
    run, pixel = experiment(baselines=["pixel"]), "pixel-concat-nw-l1-baseline-1"
    assert run.trained == [TUNED, pixel] and run.baselines == [pixel] and run.model_settings(pixel) == {}
    assert experiment().baselines == []
