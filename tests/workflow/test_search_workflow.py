"""A search in the real workflow, and its best trial as an ordinary configuration."""

import copy

import pandas as pd
import pytest
import yaml
from project import TINY, TUNED

SPACE = {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "weighting": ["nw", "w"]}


def configuration(**tune):
    config = copy.deepcopy(TINY)
    config["scenarios"]["extra"] = []
    return config | {"tune": {"scenario": TUNED, "trials": 3, "epochs": 1, "space": SPACE} | tune}


@pytest.fixture(scope="module")
def project(finished, tmp_path_factory):
    """A copy of the finished run: its patches are those of the search."""
    made = finished.copy(tmp_path_factory.mktemp("search") / "project")
    made.configure(configuration())
    return made


def test_best_trial_is_an_ordinary_configuration(project):
    project.run("tune")
    table = pd.read_csv(project.folder / "results/tune/trials.csv")
    assert list(table["number"]) == [0, 1, 2] and set(table["state"]) <= {"COMPLETE", "PRUNED"}
    for name in ("history", "slices", "importances"):
        assert b"simulated landscape" in project.read(f"results/tune/{name}.svg")
    best = "results/tune/best.yaml"
    found = yaml.safe_load(project.read(best))
    assert found["scenarios"]["recipes"] == ["searched"] and found["recipes"]["searched"]["from"] == "tuned"
    assert project.planned("--configfile", best)["evaluate"] == 1
    assert project.planned("tune") == {}


def test_larger_budget_goes_on_in_two_jobs(project):
    before = pd.read_csv(project.folder / "results/tune/trials.csv")
    project.configure(configuration(trials=6, workers=2))
    assert project.planned("tune")["trials"] == 2
    project.run("tune")
    after = pd.read_csv(project.folder / "results/tune/trials.csv")
    assert len(after) in (6, 7)
    pd.testing.assert_frame_equal(after[: len(before)][list(before)], before)


def test_no_scenario_no_search(project):
    project.configure(configuration(scenario=""))
    assert "tune.scenario" in project.run("-n", "tune", ok=False)
    assert "trials" not in project.planned()
