"""The real workflow, run as a user runs it, in a copy of the project."""

import json

import numpy as np
import pandas as pd
import pytest
import rasterio
import timm
from project import RELEASED, TINY, TUNED
from safetensors.torch import save_file
from scenes import CERRADATA

from cerraseg.data.masks import derive_edges
from cerraseg.models import checkpoint
from cerraseg.orchestration.provenance import lineage
from cerraseg.orchestration.provenance.crate import RUN, references

AFTER_PREDICTION = ("evaluate", "mosaic", "areas", "geotiffs", "scenario_figures", "model_card")
MAPS = ("map", "polygons", "describe_map")
LAST = {"benchmark": 1, "overview": 1, "default": 1}


def test_everything_is_there(finished):
    results = finished.folder / "results"
    benchmark = pd.read_csv(results / "benchmark.csv")
    assert set(benchmark["id"]) == {TUNED, RELEASED}
    assert "simulated landscape" in (results / "benchmark.md").read_text()
    for name, level, test in ((TUNED, "l1", 3), (RELEASED, "l2", 3)):
        folder = results / "scenarios" / name
        metrics = json.loads((results / f"scores/{name}/metrics.json").read_text())
        assert (metrics["source"], metrics["patches"]) == ("simulated landscape", test)
        tabled = benchmark.set_index("id")["macro_f1"][name]
        assert tabled == pytest.approx(100 * metrics["scores"]["macro_f1"], abs=0.005)
        with (
            rasterio.open(folder / "mosaic/prediction_epsg4326.tif") as found,
            rasterio.open(results / f"truth/{level}/truth_epsg4326.tif") as truth,
        ):
            assert (found.shape, found.transform, found.crs) == (truth.shape, truth.transform, truth.crs)
            assert found.tags()["SCENARIO"] == name
        table = pd.read_parquet(results / "patches.parquet")
        model, _, weighting, *_ = name.split("-")
        stem = f"parrot_beak_{model}" + f"_{weighting}" * (model == "unet")
        names = {f"{stem}_{id_}.tif" for id_ in table["id"]}
        folders = ("seg", "edg") if model == "transnuseg" else (".",)
        for patches in folders:
            assert {path.name for path in (folder / "patches" / patches).glob("*.tif")} == names
        card = (folder / "model_card.md").read_text()
        assert "simulated landscape" in card and f"{tabled:.2f}" in card and str(finished.folder) not in card
    assert metrics["training"] == {} and not (results / f"histories/{RELEASED}.csv").exists()
    origin = json.loads(finished.read(f"results/models/{RELEASED}/origin.json"))
    assert origin["file"] == "transnuseg_14cSAR_nonW_epoch:3_loss0.5.pt"


def test_the_crate_knows_where_every_result_comes_from(finished, monkeypatch):
    monkeypatch.chdir(finished.folder)
    crate, id_ = lineage.find_result(finished.folder / f"results/scores/{TUNED}/metrics.json")
    assert crate.entities[RUN]["actionStatus"].endswith("CompletedActionStatus")
    lines = list(lineage.describe(crate, id_))
    assert lines[0].endswith("metrics.json: unchanged since") and not any(lineage.CHANGED in line for line in lines)
    assert any(line.endswith("manifest.json: by simulate, unchanged since") for line in lines)
    made = set(references([crate.entities[RUN]["result"]]))
    assert {"overview.html", f"models/{TUNED}/checkpoint.pt", "truth/", f"scenes/unseen/{RELEASED}/item.json"} <= made


def test_edges_are_mapped_and_scored(finished):
    results = finished.folder / "results"
    metrics = json.loads((results / f"scores/{RELEASED}/metrics.json").read_text())
    f1 = [metrics["edges"][tolerance]["f1"] for tolerance in "012"]
    assert 0 < f1[0] <= f1[1] <= f1[2] <= 1
    with (
        rasterio.open(results / f"scenarios/{RELEASED}/mosaic/edges_epsg4326.tif") as found,
        rasterio.open(results / "truth/l2/edges_epsg4326.tif") as truth,
    ):
        assert (found.shape, found.transform) == (truth.shape, truth.transform)
        mapped = np.isin(truth.read(1), [0, 1])
        assert (np.isin(found.read(1), [0, 1]) == mapped).all()
        assert 0 < truth.read(1)[mapped].mean() < 0.5
    classes, edges = (np.load(results / f"scenarios/{TUNED}/{name}.npy") for name in ("prediction", "edges"))
    np.testing.assert_array_equal(edges, derive_edges(classes))
    assert pd.read_csv(results / "benchmark.csv")["edge_f1_2"].between(0, 100).all()


def test_own_checkpoint_in_place_of_a_training(project):
    name = "unet-concat-w-l1-tuned-9"
    extra = TINY["scenarios"] | {"extra": [RELEASED, name]}
    own = f"results/models/{TUNED}/checkpoint.pt"
    project.configure(TINY | {"scenarios": extra, "checkpoints": {name: own}})
    target = f"results/models/{name}/checkpoint.pt"
    assert project.planned(target) == {"adopt": 1}
    project.run(target)
    assert "taken as unet-concat-w-l1-tuned-9" in project.read(f"results/logs/adopt/{name}.log").decode()
    project.configure(TINY | {"scenarios": extra, "checkpoints": {name: "no/such.pt"}})
    assert f"checkpoints.{name}: no/such.pt: no such file" in project.run("-n", ok=False)


def test_scores_follow_from_predictions_and_masks(finished):
    results = finished.folder / "results"
    test = pd.read_csv(results / "split.csv")["split"] == "test"
    truth = np.load(results / "packed/masks.npy")[test, -2]  # of l1, without errors
    prediction = np.load(results / f"scenarios/{TUNED}/prediction.npy")[test]
    metrics = json.loads((results / f"scores/{TUNED}/metrics.json").read_text())
    assert metrics["scores"]["accuracy"] == pytest.approx((truth == prediction).mean(), abs=1e-6)


def test_a_scene_is_mapped_on_its_own_grid(finished):
    """By either model, though the radar raster lies on another grid; with areas, polygons and a STAC item."""
    scene = rasterio.open(finished.folder / "data/simulated/scene/msi.tif")
    optical, everywhere = scene.read_masks().min(0), np.full(scene.shape, 255)
    for name, level, data in ((TUNED, "l1", optical), (RELEASED, "l2", everywhere)):  # radar alone has data everywhere
        folder = finished.folder / f"results/scenes/unseen/{name}"
        for layer, bands in (
            ("classes", 1),
            ("confidence", 1),
            ("probabilities", len(CERRADATA.classes(level))),
            ("margin", 1),
        ):
            with rasterio.open(folder / f"map/{layer}.tif") as file:
                assert (file.crs, file.transform, file.shape) == (scene.crs, scene.transform, scene.shape)
                np.testing.assert_array_equal(file.read_masks(bands), data)
                assert (file.tags()["SCENARIO"], file.tags()["RESAMPLING"]) == (name, "bilinear")
                assert file.tags()["SOURCE"] == "simulated landscape"
        areas = pd.read_csv(finished.folder / f"results/scores/{name}/areas_unseen.csv")
        assert areas["pixels"].iloc[-1] == (data > 0).sum() and set(areas["basis"]) == {"reference mask"}
        assert areas["hectares"].iloc[-1] == pytest.approx(areas["pixels"].iloc[-1] / 100, rel=0.01)
        item = json.loads((folder / "item.json").read_text())
        for asset in item["assets"].values():
            assert (folder / asset["href"]).is_file()
        assert {"classes", "probabilities", "sieved", "polygons", "areas", "figure"} <= set(item["assets"])
    assert not list((finished.folder / "results/resume/maps/unseen").iterdir())


def test_one_model_serves_both_levels(project):
    """Trained for both, with nothing else made anew; each map of L1 holds the parents of its map of L2."""
    name, results = "unet-concat-sqrt-l2-hierarchical-1", project.folder / "results"
    scenarios = TINY["scenarios"] | {"extra": [RELEASED, name]}
    recipe = {"hierarchical": {"from": "tuned", "hierarchy": 1.0}}
    targets = [f"results/{path}" for path in (f"scenes/unseen/{name}/item.json", f"scenarios/{name}/model_card.md")]
    project.configure(TINY | {"scenarios": scenarios, "recipes": recipe})
    planned = dict.fromkeys(("train", "predict", "mosaic", "evaluate", "model_card", *MAPS), 1)
    assert project.planned(*targets, f"results/scenarios/{name}/mosaic") == planned
    project.run(*targets, f"results/scenarios/{name}/mosaic")
    parents = np.array([*CERRADATA.ancestors("l2")["l1"], *[255] * 242], np.uint8)
    for folder, fine, coarse in (
        (results / f"scenarios/{name}/mosaic", "prediction_epsg4326", "l1_epsg4326"),
        (results / f"scenes/unseen/{name}/map", "classes", "classes_l1"),
    ):
        with rasterio.open(folder / f"{fine}.tif") as l2, rasterio.open(folder / f"{coarse}.tif") as l1:
            assert (l1.crs, l1.transform, l1.tags()["SCENARIO"]) == (l2.crs, l2.transform, name)
            assert l1.tags()["CLASS_6"] == "Other uses" and (l1.read(1) != 255).any()
            np.testing.assert_array_equal(l1.read(1), parents[l2.read(1)])
    assert "classes_l1" in json.loads(project.read(targets[0]))["assets"]
    assert "trained for both levels" in project.read(targets[1]).decode()


def test_a_scene_that_cannot_be_mapped_is_refused(project):
    with rasterio.open(project.folder / "data/simulated/scene/sar.tif") as file:
        pixels, profile, bands = file.read(), file.profile, file.descriptions
    with rasterio.open(project.folder / "spoilt.tif", "w", **profile) as file:
        file.write(10 * np.log10(pixels) - 40)
        file.descriptions = bands
    project.configure(TINY | {"scenes": [TINY["scenes"][0] | {"name": "spoilt", "sar": "spoilt.tif"}]})
    assert "as in decibels" in project.run(f"results/scenes/spoilt/{TUNED}/map", ok=False)
    assert not list(project.folder.glob("results/scenes/spoilt/*"))


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (
            "training/losses",
            {"train": 1, "curves": 1, "predict": 1, **dict.fromkeys(AFTER_PREDICTION + MAPS, 1), **LAST},
        ),
        (
            "geo/cog",
            {"mosaic": 2, "areas": 2, "truth": 1, "scenario_figures": 2, "scene": 1, "overview": 1}
            | {**dict.fromkeys(MAPS, 2), "default": 1},
        ),
        (
            "evaluation/bootstrap",
            {"evaluate": 2, "areas": 2, "describe_map": 2, "scenario_figures": 2, "model_card": 2, **LAST},
        ),
        ("core/logs", {}),
    ],
)
def test_edited_module_reruns_what_depends_on_it(project, module, expected):
    with (project.folder / f"cerraseg/{module}.py").open("a") as file:
        file.write("\nEDITED = True\n")
    assert project.planned() == expected


def test_edited_scenario_or_setting_reruns_only_its_jobs(project):
    one = {"train": 1, "curves": 1, "predict": 1, **dict.fromkeys(AFTER_PREDICTION + MAPS, 1), **LAST}
    weighted = TINY["scenarios"] | {"weightings": ["w"]}
    project.configure(TINY | {"scenarios": weighted})
    assert project.planned() == one
    project.configure(TINY | {"predict": {"geotiffs": True, "batch_size": 16}})
    assert project.planned() == {"predict": 2, **dict.fromkeys(AFTER_PREDICTION + MAPS, 2), **LAST}
    project.configure(TINY | {"scenarios": TINY["scenarios"] | {"extra": []}})
    assert project.planned() == {"split_figures": 1, **LAST}


@pytest.mark.parametrize(
    ("lost", "again"),
    [
        ("manifest.json", {"simulate", "index", "split", "pack"}),
        ("patches.parquet", {"index", "split", "pack"}),
        (f"models/{TUNED}/last.pt", {"train", "predict", "evaluate"}),
        (f"scenarios/{TUNED}/prediction.npy", {"predict", *AFTER_PREDICTION, "benchmark"}),
        (f"scores/{TUNED}/patches.npz", {"evaluate", "areas", "describe_map", "benchmark"}),
        ("scenes/unseen/scene.json", {"scene", "describe_map", "overview"}),
    ],
)
def test_what_a_failed_job_took_along_is_made_again(project, lost, again):
    """With all that follows from it: Snakemake removes what a job had made before when that job starts and fails."""
    (project.folder / "results" / lost).unlink()
    assert again <= project.planned().keys()


def test_a_scene_is_simulated_again_with_what_follows_when_its_settings_change(project):
    project.configure(TINY | {"simulate": TINY["simulate"] | {"scene": {"width": 231, "height": 150}}})
    for path in (project.folder / "data/simulated/scene").iterdir():
        path.unlink()  # as a job does that is killed
    assert {"simulate_scene", "scene", *MAPS} <= project.planned().keys()


def test_learning_rate_is_looked_for_on_demand(project):
    made = f"results/learning_rate/{TUNED}"
    project.run(f"{made}.svg")
    said = json.loads(project.read(f"{made}.json"))
    assert said["scenario"] == TUNED and said["recipe"] == 0.002 and 1e-6 < said["suggestion"] < 1
    assert f"{said['suggestion']:.1e} suggested".encode() in project.read(f"{made}.svg")
    assert not (project.folder / "results/resume" / TUNED).exists()
    assert project.planned() == {}


def test_faulty_configuration_stops_before_the_graph(finished):
    output = finished.run("-n", "--config", "training={epoch: 3}", ok=False)
    assert "training.epoch: unknown key; did you mean 'epochs'?" in output
    assert "Building DAG" not in output


def test_report_holds_figures_and_captions(project):
    project.run("--report", "results/report.html")
    report = project.read("results/report.html").decode()
    assert "Confusion matrix of" in report and '"At a glance"' in report
    assert r"Start with the <a class=\"reference external\" href=\"overview.html\"" in report
    assert "simulated landscape" in report


def test_own_model_goes_through_everything(project):
    """With late fusion, from a file of parameters; another file trains anew, another time of it does not."""
    name, file = "late-concat-w-l1-tuned-2", project.folder / "encoder.safetensors"
    late = {
        "architecture": "Unet", "encoder": "tu-mobilenetv3_small_100", "depth": 3, "fusion": "late",
        "options": {"decoder_channels": [16, 16, 8]}, "pretrained": "$FILES/encoder.safetensors",
    }  # fmt: skip
    own = TINY | {"scenarios": TINY["scenarios"] | {"extra": [RELEASED, name]}, "models": {"late": late}}
    targets = [f"results/scenarios/{name}/{part}" for part in ("mosaic", "model_card.md")]
    targets += [f"results/scenes/unseen/{name}/map", "results/benchmark.csv"]
    where = {"FILES": str(project.folder)}

    project.configure(TINY | {"unet": TINY["unet"] | {"encoder": "resnet-50"}})
    assert "unet.encoder: 'resnet-50' is unknown; did you mean 'resnet50'?" in project.run("-n", ok=False)
    state = timm.create_model("mobilenetv3_small_100").state_dict()
    save_file(state, file)
    project.configure(own)
    project.run(*targets, **where)
    log = project.read(f"results/logs/train/{name}.log").decode()
    assert "encoder of 12 bands: " in log and "encoder of 2 bands: " in log
    _, blueprint, _ = checkpoint.load(project.folder / f"results/models/{name}/checkpoint.pt")
    assert (blueprint.model, blueprint.settings["fusion"]) == ("late", "late")
    assert "pretrained" not in blueprint.settings
    card = (project.folder / f"results/scenarios/{name}/model_card.md").read_text()
    assert "Unet with the encoder tu-mobilenetv3_small_100 for each modality for land use" in card
    assert "started from the parameters in `encoder.safetensors`" in card and str(project.folder) not in card
    assert pd.read_csv(project.folder / "results/benchmark.csv")["model"].tolist() == ["unet", "late", "transnuseg"]
    file.touch()
    assert "Nothing to be done" in project.run("-n", *targets, **where)
    save_file({key: 2 * tensor for key, tensor in state.items()}, file)
    assert "train" in project.run("-n", *targets, **where)
