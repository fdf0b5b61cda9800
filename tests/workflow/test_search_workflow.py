"""A search in the real workflow: killed half way, gone on with, and its best trial trained by its configuration."""

import copy
import json

import optuna
import pandas as pd
import pytest
import yaml
from project import TINY, TUNED, Project

pytestmark = pytest.mark.drill

SPACE = {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "schedule": ["constant", "cosine"],
         "weighting": ["nw", "w"]}  # fmt: skip


def configuration(**tune):
    config = copy.deepcopy(TINY)
    config["scenarios"]["extra"] = []
    return config | {"tune": {"scenario": TUNED, "trials": 10, "space": SPACE} | tune}


def studied(project):
    """The trials of the study as it lies."""
    storage = f"sqlite:///{project.folder}/results/tune/study.db"
    return optuna.load_study(study_name=optuna.get_all_study_names(storage)[0], storage=storage).get_trials()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return Project(tmp_path_factory.mktemp("search") / "project", configuration())


def test_killed_search_goes_on(project):
    project.kill_when("results/resume/tune/*/trial_4/state/last.ckpt", "tune", seconds=400)
    before = studied(project)
    assert [trial.state.is_finished() for trial in before] == [True] * 4 + [False]
    project.run("tune")
    assert b"trial 4: taken up again after epoch" in project.read("results/logs/trials/1.log")
    after = studied(project)
    assert [trial.state.name in ("COMPLETE", "PRUNED") for trial in after] == [True] * 10
    assert after[:4] == before[:4] and after[4].params == before[4].params
    table = pd.read_csv(project.folder / "results/tune/trials.csv")
    assert list(table["number"]) == list(range(10)) and set(table["state"]) <= {"complete", "pruned"}
    assert not (project.folder / "results/resume/tune").exists()
    assert "Nothing to be done" in project.run("tune")


def test_best_trial_is_an_ordinary_configuration(project):
    best = "results/tune/best.yaml"
    assert "simulated landscape" in project.read(best).decode()
    found = yaml.safe_load(project.read(best))
    weighting = found["scenarios"]["weightings"][0]
    history = f"results-searched/scenarios/unet-concat-{weighting}-l1-searched-1/history.csv"
    project.run("--configfile", best, "--", history)
    rows = pd.read_csv(project.folder / history)
    table = pd.read_csv(project.folder / "results/tune/trials.csv")
    value = table[table["state"] == "complete"]["value"].max()
    assert rows["val_macro_f1"][rows["selected"]].item() == pytest.approx(value, abs=1e-6)
    assert project.planned("--configfile", best)["evaluate"] == 1


def test_larger_budget_and_two_workers_go_on(project):
    before = studied(project)
    project.configure(configuration(trials=14, workers=2))
    assert project.planned("tune") == {"trials": 2, "tune": 1}
    project.run("tune")
    after = studied(project)
    assert len(after) == 14 and after[:10] == before
    done = [json.loads(project.read(f"results/tune/worker_{n}.json"))["trials"] for n in (1, 2)]
    assert sorted(trial["number"] for rows in done for trial in rows) == list(range(14))


def test_password_is_nowhere(project):
    project.configure(configuration(storage="postgresql://ana:s3cret@127.0.0.1:1/tune"))
    output = project.run("tune", ok=False)
    assert "tune.storage: postgresql://***@127.0.0.1:1/tune cannot be opened" in output
    assert "s3cret" not in output
    for folder in ("results", ".snakemake"):
        for path in (project.folder / folder).rglob("*"):
            assert not path.is_file() or b"s3cret" not in path.read_bytes(), path


def test_no_scenario_no_search(project):
    project.configure(configuration(scenario=""))
    assert "tune.scenario: missing; expected the id of a scenario" in project.run("-n", "tune", ok=False)
    assert "trials" not in project.planned()
