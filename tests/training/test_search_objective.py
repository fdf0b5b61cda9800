"""A trial is an ordinary training: its value is that of the scenario with the trial's settings."""

import dataclasses
import json

import pandas as pd
import pytest
from conftest import opened as packed_store
from test_train import Killed, kill_in, outputs, plan
from test_train import run as train_alone

from cerraseg.training.tuning.objective import Data, planned, work
from cerraseg.training.tuning.study import finished

TUNE = {
    "space": {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "weighting": ["nw", "w"],
              "model.decoder_channels": [[16, 16, 8], [24, 16, 8]], "batch_size": [2, 4]},
    "trials": 2, "workers": 1, "pruner": "median", "seed": 1,
}  # fmt: skip


def search(packed, folder, what=None, **changes):
    storage = f"journal:///{folder}/study.log"
    data = Data(packed_store(packed), packed / "split.csv", packed / "statistics.json")
    what = what or plan("unet-concat-w-l1-tuned-1", epochs=2)
    work(what, data, TUNE | changes, storage, 1, folder / "states", folder / "worker_1.json")
    done = json.loads((folder / "worker_1.json").read_text())
    return done, finished(done["study"], storage).get_trials()


def test_planned():
    what = plan("unet-concat-nw-l1-tuned-1")
    values = {"weighting": "w", "dice": 0.5, "batch_size": 2, "model.encoder": "resnet18"}
    made = planned(what, values)
    assert made.scenario.id == "unet-concat-w-l1-tuned-1" and made.batch_size == 2
    assert made.recipe == dataclasses.replace(what.recipe, dice=0.5)
    assert made.settings == {**what.settings, "encoder": "resnet18"}
    assert planned(what, {}) == what


def test_values_are_those_of_ordinary_trainings_even_after_a_kill(packed, tmp_path, monkeypatch):
    (tmp_path / "killed").mkdir()
    whole, trials = search(packed, tmp_path / "whole")
    with monkeypatch.context() as patched:
        kill_in(patched, "on_train_epoch_end", epoch=1)
        with pytest.raises(Killed):
            search(packed, tmp_path / "killed")
    state = next((tmp_path / "killed/states").glob("*/trial_0/state/last.ckpt"))
    assert search(packed, tmp_path / "killed")[0] == whole
    assert not state.parents[1].exists() and len(list((tmp_path / "whole/states").rglob("*.pt"))) == 0
    assert [(trial["number"], trial["state"]) for trial in whole["trials"]] == [(0, "complete"), (1, "complete")]
    assert trials[0].params["weighting"] == "w" and trials[0].params["learning_rate"] == 0.002
    values = trials[1].params | {"model.decoder_channels": json.loads(trials[1].params["model.decoder_channels"])}
    train_alone(packed, tmp_path / "alone", planned(plan("unet-concat-w-l1-tuned-1", epochs=2), values))
    history = pd.read_csv(outputs(tmp_path / "alone").history)
    assert trials[1].value == history["val_macro_f1"][history["selected"]].item()
    reported = pd.Series(trials[1].intermediate_values).round(6)
    assert list(reported) == pytest.approx(list(history["val_macro_f1"]), abs=1e-6)


def test_another_space_or_scenario_has_another_study(packed, tmp_path):
    names = [
        search(packed, tmp_path / str(n), what, trials=1, **changes)[0]["study"]
        for n, (what, changes) in enumerate(
            (
                (None, {}),
                (None, {"pruner": "none", "seed": 2}),
                (None, {"space": TUNE["space"] | {"batch_size": [4]}}),
                (plan("unet-concat-nw-l1-tuned-1", epochs=2), {}),
            )
        )
    ]
    assert names[0] == names[1] and len(set(names)) == 3
    assert names[0].startswith("unet-concat-w-l1-tuned-1-") and names[3].startswith("unet-concat-nw-l1-tuned-1-")


def test_failed_training_says_why(packed, tmp_path, caplog):
    caplog.set_level("INFO", "cerraseg")
    what = plan("unet-sar-nw-l1-tuned-1", epochs=1)
    _, trials = search(packed, tmp_path, what, space={"learning_rate": [1e30]}, trials=1)
    assert trials[0].state.name == "FAIL"
    assert trials[0].user_attrs["reason"].startswith("epoch 1: the training loss is nan; lower the learning rate")
    told = [record.getMessage() for record in caplog.records if record.name == "cerraseg"]
    assert len(told) == 3 and told[1].startswith("trial 0 failed: epoch 1: the training loss is nan"), told


@pytest.mark.drill
def test_several_devices_report(packed, tmp_path):
    two = plan("unet-sar-nw-l1-tuned-1", epochs=1, devices=2)
    _, trials = search(packed, tmp_path, two, space={"dice": [1.0]}, trials=1)
    assert trials[0].state.name == "COMPLETE"
    assert trials[0].value == pytest.approx(trials[0].intermediate_values[1], abs=1e-6)
