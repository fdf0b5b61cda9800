"""The real workflow, run as a user runs it, in a copy of the project."""

import json

import numpy as np
import pandas as pd
import pytest
import rasterio
from project import PAPER, TINY, TUNED, Project

AFTER_TRAINING = ("predict", "evaluate", "mosaic", "geotiffs", "scenario_figures")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A finished run of the tiny configuration."""
    made = Project(tmp_path_factory.mktemp("workflow") / "project", TINY)
    made.run()
    return made


def test_everything_is_there(project):
    results = project.folder / "results"
    benchmark = pd.read_csv(results / "benchmark.csv")
    assert set(benchmark["id"]) == {TUNED, PAPER}
    assert "simulated landscape" in (results / "benchmark.md").read_text()
    for scenario, level, test in ((TUNED, "l1", 3), (PAPER, "l2", 3)):
        folder = results / "scenarios" / scenario
        metrics = json.loads((folder / "scores/metrics.json").read_text())
        assert (metrics["source"], metrics["patches"]) == ("simulated landscape", test)
        tabled = benchmark.set_index("id")["macro_f1"][scenario]
        assert tabled == pytest.approx(100 * metrics["scores"]["macro_f1"], abs=0.005)
        with (
            rasterio.open(folder / "mosaic/prediction_epsg4326.tif") as found,
            rasterio.open(results / f"truth/{level}/truth_epsg4326.tif") as truth,
        ):
            assert (found.shape, found.transform, found.crs) == (truth.shape, truth.transform, truth.crs)
            assert found.tags()["SCENARIO"] == scenario
        table = pd.read_parquet(results / "patches.parquet")
        model, _, weighting, *_ = scenario.split("-")
        names = {f"parrot_beak_{model}_{weighting}_{id_}.tif" for id_ in table["id"]}
        assert {path.name for path in (folder / "patches").glob("*.tif")} == names


def test_scores_follow_from_predictions_and_masks(project):
    results = project.folder / "results"
    test = pd.read_csv(results / "split.csv")["split"] == "test"
    truth = np.load(results / "packed/masks.npy")[test, 0]
    prediction = np.load(results / f"scenarios/{TUNED}/prediction.npy")[test]
    metrics = json.loads((results / f"scenarios/{TUNED}/scores/metrics.json").read_text())
    assert metrics["scores"]["accuracy"] == pytest.approx((truth == prediction).mean(), abs=1e-6)


def test_second_run_does_nothing(project):
    assert "Nothing to be done" in project.run()


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("losses", {"train": 2, **dict.fromkeys(AFTER_TRAINING, 2), "benchmark": 1, "all": 1}),
        ("cog", {"mosaic": 2, "truth": 2, "scenario_figures": 2, "all": 1}),
        ("logs", {}),
    ],
)
def test_edited_module_reruns_what_depends_on_it(project, module, expected):
    path = project.folder / f"cerraseg/{module}.py"
    text = path.read_text()
    path.write_text(text + "\nEDITED = True\n")
    try:
        assert project.planned() == expected
    finally:
        path.write_text(text)


def test_edited_scenario_or_setting_reruns_only_its_jobs(project):
    one = {"train": 1, **dict.fromkeys(AFTER_TRAINING, 1), "benchmark": 1, "all": 1}
    extra = TINY["scenarios"] | {"extra": [PAPER.replace("-1", "-2")]}
    try:
        project.configure(TINY | {"scenarios": extra})
        assert project.planned() == one
        project.configure(TINY | {"predict": {"geotiffs": True, "batch_size": 16}})
        assert project.planned() == {**dict.fromkeys(AFTER_TRAINING, 2), "benchmark": 1, "all": 1}
        project.configure(TINY | {"scenarios": TINY["scenarios"] | {"extra": []}})
        assert project.planned() == {"class_shares": 1, "benchmark": 1, "all": 1}
    finally:
        project.configure(TINY)


def test_faulty_configuration_stops_before_the_graph(project):
    output = project.run("-n", "--config", "training={epoch: 3}", ok=False)
    assert "training.epoch: unknown key; did you mean 'epochs'?" in output
    assert "Building DAG" not in output


def test_killed_in_pack_and_in_train_ends_as_undisturbed(project):
    """The same command again, each time; the lock of the killed run is no obstacle."""
    target = f"killed/scenarios/{TUNED}/checkpoint.pt"
    args = ("--config", "results=killed", "--", target)
    project.kill_when("killed/packed/.images*", *args)
    assert not (project.folder / "killed/packed/header.json").exists()
    project.kill_when(f"killed/resume/{TUNED}/last.ckpt", *args)
    assert not (project.folder / target).exists()
    assert "going on from the state" in project.run(*args)
    for name in ("packed/images.npy", "packed/masks.npy", "statistics.json", f"scenarios/{TUNED}/checkpoint.pt",
                 f"scenarios/{TUNED}/last.pt", f"scenarios/{TUNED}/history.csv"):  # fmt: skip
        assert project.read(f"killed/{name}") == project.read(f"results/{name}"), name


def test_report_holds_figures_and_captions(project):
    project.run("--report", "report.html")
    report = project.read("report.html").decode()
    assert "Confusion matrix of" in report
    assert "simulated landscape" in report
