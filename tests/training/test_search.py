"""A search takes its budget of trials, and goes on after a kill with those that are left."""

import dataclasses
import json
import threading

import optuna
import pandas as pd
import pytest
from conftest import opened
from optuna.trial import TrialState
from scenes import CERRADATA
from test_train import Killed, outputs, plan
from test_train import run as train_alone

from cerraseg.config.dataset import Dataset
from cerraseg.core.errors import ConfigError, DataError, MemoryShortage, StorageError
from cerraseg.core.signals import StepStopped
from cerraseg.training.tuning import search
from cerraseg.training.tuning.study import open_storage, suggest

SPACE = {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "schedule": ["constant", "cosine"]}
TUNE = {"space": SPACE, "trials": 8, "workers": 1, "pruner": "none", "seed": 1}
KINDS = {"journal": "study.log", "sqlite": "study.db"}


class Training:
    """Stands for a training of two epochs; its score follows from the learning rate."""

    def __init__(self, monkeypatch):
        self.plans, self.errors = [], {}  # the error that a call, from 0 on, ends in
        monkeypatch.setattr(search, "train", self)
        monkeypatch.setattr("gc.collect", lambda: 0)  # a second after each trial
        monkeypatch.setattr(search, "described", lambda plan, *data: plan.scenario.id)

    def __call__(self, plan, store, split, statistics, outputs, resume, callbacks):
        self.plans.append(plan)
        if error := self.errors.get(len(self.plans) - 1):
            raise error
        outputs.history.parent.mkdir(parents=True, exist_ok=True)
        scores = [plan.recipe.learning_rate, plan.recipe.learning_rate / 2]
        pd.DataFrame({"val_macro_f1": scores, "selected": [True, False]}).to_csv(outputs.history)


@pytest.fixture
def training(monkeypatch):
    return Training(monkeypatch)


def work(folder, worker=1, kind="journal", data=(None, None, None), what=None, **changes):
    marker, storage = folder / f"worker_{worker}.json", f"{kind}:///{folder}/{KINDS[kind]}"
    what = what or plan("unet-concat-w-l1-tuned-1", epochs=2)
    search.run_worker(what, data, TUNE | changes, storage, worker, folder / "states", marker)
    return json.loads(marker.read_text())["study"]


def trials(folder, kind="journal"):
    storage = open_storage(f"{kind}:///{folder}/{KINDS[kind]}")
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage).get_trials()


def states(folder, kind="journal"):
    return [trial.state.name for trial in trials(folder, kind)]


def test_planned():
    what = plan("unet-concat-nw-l1-tuned-1")
    values = {"weighting": "w", "dice": 0.5, "batch_size": 2, "model.encoder": "resnet18"}
    made = search.planned(what, values)
    assert made.scenario.id == "unet-concat-w-l1-tuned-1" and made.batch_size == 2
    assert made.recipe == dataclasses.replace(what.recipe, dice=0.5)
    assert made.settings == {**what.settings, "encoder": "resnet18"}
    assert search.planned(what, {}) == what


def test_trials_that_no_training_can_be_are_refused():
    """A batch in unequal parts would be weighed wrongly, and other bands have no published statistics."""
    what = plan("unet-concat-nw-l1-tuned-1", accumulate=4)
    for values in ({"batch_size": 6}, {"crops": 10}):
        with pytest.raises(ConfigError, match="accumulate"):
            search.planned(what, values)
    other = Dataset.of({**CERRADATA.as_dict(), "sensors": {"a": {"title": "A", "bands": ["red"]}}})
    with pytest.raises(ConfigError, match="normalise_by"):
        search.planned(dataclasses.replace(what, dataset=other), {"normalise_by": "published"})


def test_search_repeats_by_its_seed_and_begins_with_the_scenario_as_it_stands(training, tmp_path):
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        work(tmp_path / name, seed=seed)
    one, again, other = ([trial.params for trial in trials(tmp_path / name)] for name in ("one", "again", "other"))
    own = plan("unet-concat-w-l1-tuned-1").recipe
    assert one == again != other and len(one) == len(training.plans) / 3 == 8
    assert one[0] == other[0] == {"learning_rate": own.learning_rate, "schedule": own.schedule}
    assert [trial.value for trial in trials(tmp_path / "one")] == pytest.approx([p["learning_rate"] for p in one])


@pytest.mark.parametrize("kind", KINDS)
def test_killed_search_goes_on_with_the_trials_that_are_left(training, tmp_path, kind):
    training.errors[4] = Killed()
    with pytest.raises(Killed):
        work(tmp_path, kind=kind)
    before = trials(tmp_path, kind)
    assert states(tmp_path, kind) == ["COMPLETE"] * 4 + ["RUNNING"]
    work(tmp_path, kind=kind)
    after = trials(tmp_path, kind)
    assert after[:4] == before[:4] and len({str(trial.params) for trial in after}) == 8
    assert states(tmp_path, kind) == ["COMPLETE"] * 4 + ["FAIL"] + ["COMPLETE"] * 4
    assert after[4].params == after[5].params and len(training.plans) == 9


@pytest.mark.parametrize(
    ("error", "times", "trained"),
    [(Killed(), 3, 1), (StepStopped("by SIGTERM"), 5, 2), (StorageError("No space"), 5, 2)],
)
def test_trial_that_kills_its_worker_is_given_up_and_no_other(training, tmp_path, error, times, trained):
    """One that was stopped, or had no room on the disk, is never counted."""
    for call in range(times):
        training.errors[call] = error
        with pytest.raises(type(error)):
            work(tmp_path, trials=2)
    work(tmp_path, trials=2)
    assert states(tmp_path) == ["FAIL"] * times + ["COMPLETE"] * trained
    assert len({str(trial.params) for trial in trials(tmp_path)[: times + trained - 1]}) == 1


@pytest.mark.parametrize("error", [DataError, MemoryShortage])
def test_failed_trial_is_recorded_and_the_search_goes_on(training, tmp_path, caplog, error):
    training.errors[1] = error("epoch 1: the training loss is nan")
    work(tmp_path, trials=3)
    assert states(tmp_path) == ["COMPLETE", "FAIL", "COMPLETE"]
    assert trials(tmp_path)[1].user_attrs["note"] == "epoch 1: the training loss is nan"
    assert [record.levelname for record in caplog.records if "loss is nan" in record.getMessage()] == ["WARNING"]


def test_larger_budget_goes_on_and_a_spent_one_does_nothing(training, tmp_path):
    work(tmp_path, trials=6)
    first = trials(tmp_path)
    work(tmp_path, trials=6)
    assert len(training.plans) == 6
    work(tmp_path, trials=8)
    assert trials(tmp_path)[:6] == first and len(trials(tmp_path)) == len(training.plans) == 8


def test_known_parameters_are_not_trained_again(training, tmp_path):
    work(tmp_path, space={"schedule": ["constant", "cosine"]}, trials=6)
    done = trials(tmp_path)
    assert states(tmp_path) == ["COMPLETE"] * 6 and len(training.plans) == 2
    assert len({(trial.params["schedule"], trial.value) for trial in done}) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_two_workers_share_a_budget_but_no_trial(training, tmp_path, kind):
    work_too = threading.Thread(target=work, args=(tmp_path, 2, kind), kwargs={"workers": 2})
    work_too.start()
    work(tmp_path, 1, kind, workers=2)
    work_too.join()
    done = trials(tmp_path, kind)
    assert len(done) in (8, 9)  # both may see that one is left
    assert {trial.state for trial in done} == {TrialState.COMPLETE}
    assert len({str(trial.params) for trial in done}) >= len(done) - 1


def test_trial_of_a_worker_that_is_no_more_is_run_again(training, tmp_path):
    training.errors[0] = Killed()
    with pytest.raises(Killed):
        work(tmp_path, worker=2, workers=2)
    work(tmp_path, trials=2, workers=2)
    assert states(tmp_path) == ["RUNNING", "COMPLETE"]
    work(tmp_path, trials=2)
    assert states(tmp_path) == ["FAIL", "COMPLETE", "COMPLETE"]


def test_another_space_or_scenario_is_another_study(training, tmp_path):
    names = {
        work(tmp_path, trials=1),
        work(tmp_path, trials=1, pruner="median", seed=2),
        work(tmp_path, trials=1, space={"learning_rate": [0.1]}),
        work(tmp_path, trials=1, what=plan("unet-concat-nw-l1-tuned-1")),
    }
    assert len(names) == 3 and {name.rsplit("-", 1)[0] for name in names} == {
        "unet-concat-w-l1-tuned-1", "unet-concat-nw-l1-tuned-1"
    }  # fmt: skip


def test_trial_is_an_ordinary_training_and_is_pruned_by_its_epochs(packed, tmp_path, monkeypatch):
    monkeypatch.setattr(optuna.trial.Trial, "should_prune", lambda trial: trial.number == 1)
    space = {"learning_rate": SPACE["learning_rate"], "model.decoder_channels": [[16, 16, 8], [24, 16, 8]]}
    data = opened(packed), packed / "split.csv", packed / "statistics.json"
    work(tmp_path, data=data, space=space, trials=2)
    whole, pruned = trials(tmp_path)
    assert (whole.state.name, pruned.state.name) == ("COMPLETE", "PRUNED")
    assert list(whole.intermediate_values) == [0, 1] and list(pruned.intermediate_values) == [0]
    values = suggest(optuna.trial.FixedTrial(whole.params), space)
    train_alone(packed, tmp_path / "alone", search.planned(plan("unet-concat-w-l1-tuned-1", epochs=2), values))
    history = pd.read_csv(outputs(tmp_path / "alone").history)
    assert whole.value == history["val_macro_f1"][history["selected"]].item()
    assert not (tmp_path / "states/1").exists()
