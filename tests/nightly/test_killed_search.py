"""A search that is killed in the real workflow goes on with the trials that are left."""

import optuna
import pandas as pd
from project import Project
from test_search_workflow import configuration


def test_killed_search_goes_on(tmp_path):
    project = Project(tmp_path / "project", configuration(trials=5, epochs=2))
    storage = f"sqlite:///{project.folder}/results/tune/study.db"
    project.kill_when("results/resume/tune/1/state/last.ckpt", "tune", seconds=400)
    (name,) = optuna.get_all_study_names(storage)
    before = optuna.load_study(study_name=name, storage=storage).get_trials()
    project.run("--unlock")
    project.run("--rerun-incomplete", "tune")
    after = optuna.load_study(study_name=name, storage=storage).get_trials()
    assert after[0].params == before[0].params == after[1].params
    assert [trial.state.name for trial in after[:2]] == ["FAIL", "COMPLETE"]
    assert len(after) == len(pd.read_csv(project.folder / "results/tune/trials.csv")) == 6
    assert b"going on from the state" in project.read("results/logs/trials/1.log")
