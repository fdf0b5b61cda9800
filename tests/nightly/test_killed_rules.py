"""Every rule of the workflow, killed without warning at random moments, ends with the bytes of an undisturbed run.

Each rule is killed once with Snakemake and all that it started, as a lost node is.
"""

import os
import re
import shutil
import signal
import subprocess
import time

import killing
import numpy as np
import pandas as pd
import pytest
from kaggle_server import serving, zip_of
from project import REPOSITORY, TINY, TUNED, Project

from cerraseg.data.tables import write_ids

SEED = int(os.environ.get("CERRASEG_SEED", "1"))

DATED = [scene | {"date": "2021-08-01"} for scene in TINY["scenes"]]  # else its item has the date of the file
MAIN = {
    "config": TINY | {"scenes": DATED},
    "targets": ("all", f"results/learning_rate/{TUNED}.svg"),
}
RULES = {
    *("simulate", "index", "split", "distances", "pack", "statistics", "split_figures", "truth"),
    *("train", "learning_rate", "released", "adopt", "curves", "model_card"),
    *("predict", "evaluate", "mosaic", "areas", "geotiffs", "scenario_figures"),
    *("simulate_scene", "scene", "map", "polygons", "describe_map", "benchmark", "overview"),
}
FOLDS, SOURCES = {"fold", "pool"}, {"download", "local", "rasters"}
SEARCH = {"trials", "trial_tables"}  # tests/nightly/test_killed_search.py


def test_every_rule_is_killed():
    text = "".join(path.read_text() for path in (REPOSITORY / "workflow/rules").glob("*.smk"))
    assert set(re.findall(r"^ *rule (\w+):", text, re.MULTILINE)) == RULES | FOLDS | SOURCES | SEARCH


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> killing.Reference:
    project = Project(tmp_path_factory.mktemp("undisturbed") / "project", MAIN["config"])
    return killing.undisturbed(project, *MAIN["targets"])


@pytest.fixture(scope="module")
def killed(reference: killing.Reference, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A run that was killed in every rule, and gone on with by the same command each time."""
    project = Project(tmp_path_factory.mktemp("killed") / "project", MAIN["config"])
    killing.kill_every_rule(project, reference, SEED, *MAIN["targets"])
    project.run(*MAIN["targets"])
    return project


def test_run_killed_in_every_rule_ends_as_an_undisturbed_one(reference, killed):
    assert reference.seconds.keys() == RULES
    assert killing.found(killed.folder) == reference.files
    assert not killing.leftovers(killed.folder)
    assert killed.planned(*MAIN["targets"]) == {}


def test_killed_job_is_reported_and_made_by_the_next_run(reference, killed):
    """Of two jobs side by side, one is killed alone, as when memory runs out: the other one is finished."""
    struck, other = "results/split.png", "results/distances.csv"
    for path in (struck, other):
        (killed.folder / path).unlink()
    before = set((killed.folder / killing.SCRIPTS).iterdir())
    with subprocess.Popen(
        killed.command(struck, other), cwd=killed.folder, env=killed.environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        while not (job := killing.process_of("split_figures", killed, before)):
            assert process.poll() is None
            time.sleep(0.005)
        os.kill(job, signal.SIGKILL)
        output = process.communicate()[0]
    assert process.returncode == 1 and "Error in rule split_figures" in output
    assert not (killed.folder / struck).exists() and (killed.folder / other).exists()
    killed.run(struck, other)
    assert killing.found(killed.folder) == reference.files


def test_folds_killed_end_as_undisturbed_ones(reference, tmp_path):
    """With predictions of folds that another run made: what they are made by is killed above."""
    config = {key: value for key, value in TINY.items() if key not in ("scenes", "maps", "released")}
    config |= {"scenarios": TINY["scenarios"] | {"extra": []}}
    config["split"] = {"scheme": "kfold", "folds": 2, "block_km": 1.5, "tolerance": 0.3}
    made = []
    for name in ("undisturbed", "killed"):
        project = Project(tmp_path / name, config)
        shutil.copytree(reference.project.folder / "data", project.folder / "data")
        (project.folder / "results").mkdir()
        for path in ("manifest.json", "patches.parquet"):
            shutil.copy(reference.project.folder / "results" / path, project.folder / "results")
        for fold in (1, 2):
            folder = project.folder / f"results/scenarios/{TUNED}/fold{fold}"
            folder.mkdir(parents=True)
            for part in ("prediction", "confidence", "edges"):
                whole = np.load(reference.project.folder / f"results/scenarios/{TUNED}/{part}.npy")
                np.save(folder / f"{part}.npy", whole[:12])  # half of the 24 patches
            ids = pd.read_parquet(project.folder / "results/patches.parquet")["id"]
            write_ids(folder / "prediction_ids.csv", ids[fold - 1 :: 2])
        made.append(project)
    wanted = (f"results/scenarios/{TUNED}/prediction.npy", *(f"results/folds/{fold}/split.csv" for fold in (1, 2)))
    disturb(*made, FOLDS, "--allowed-rules", "split", "fold", "pool", "--", *wanted)


def test_sources_killed_end_as_undisturbed_ones(reference, tmp_path):
    plain = {key: value for key, value in TINY.items() if key != "scenes"}
    root = reference.project.folder / "data/simulated/cerradata_4mm"
    local = plain | {"source": "local", "roots": [str(root)], "label": "copy"}
    disturb(*(Project(tmp_path / name, local) for name in ("a", "b")), {"local"}, "results/manifest.json")
    scene = reference.project.folder / "data/simulated/scene"
    area = {"name": "north", "labels": {"l2": str(scene / "truth_l2.tif")}}
    area |= {sensor: str(scene / f"{sensor}.tif") for sensor in ("msi", "sar")}
    rasters = plain | {"source": "rasters", "areas": [area], "label": "rasters"}
    disturb(*(Project(tmp_path / name, rasters) for name in ("e", "f")), {"rasters"}, "results/manifest.json")
    files = {str(path.relative_to(root.parent)): path.read_bytes() for path in root.rglob("*.tif")}
    kaggle = plain | {"source": "kaggle", "kaggle": {"dataset": "a/copy", "version": 3}}
    where = {"KAGGLE_API_ENVIRONMENT": "TEST", "NO_PROXY": "localhost", "HOME": str(tmp_path)}
    try:
        with serving(zip_of(files), port=7777):
            projects = (Project(tmp_path / name, kaggle) for name in ("c", "d"))
            disturb(*projects, {"download"}, "results/manifest.json", **where)
    except OSError as error:
        pytest.skip(f"the client's fixed port 7777 is taken: {error}")


def disturb(calm: Project, disturbed: Project, rules: set[str], *targets: str, **env: str) -> None:
    """Run the targets twice, once killed in each of the rules."""
    reference = killing.undisturbed(calm, *targets, **env)
    assert rules <= reference.seconds.keys()
    killing.kill_every_rule(disturbed, reference, SEED, *targets, **env)
    disturbed.run(*targets, **env)
    assert killing.found(disturbed.folder) == reference.files
    assert not killing.leftovers(disturbed.folder)
