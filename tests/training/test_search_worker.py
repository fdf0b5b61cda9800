"""A search that is killed anywhere ends as an undisturbed one; nothing is tried twice, no trial has two workers."""

import dataclasses
import threading
import time

import optuna
import pytest
from optuna.trial import TrialState

from cerraseg.core.errors import DataError
from cerraseg.core.signals import StepStopped
from cerraseg.training.tuning import worker
from cerraseg.training.tuning.study import Search, opened
from cerraseg.training.tuning.worker import take_trials

SPACE = {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "schedule": ["constant", "cosine"]}
EPOCHS = 3


class Killed(BaseException):
    """Stands for a kill: nothing in the package catches it."""


def search(folder, **changes):
    own = {"learning_rate": 0.002}
    made = Search("study", f"journal:///{folder}/study.log", SPACE, own, EPOCHS, trials=8, pruner="none")
    return dataclasses.replace(made, **changes)


class Training:
    """A stub: the value follows from the parameters, the finished epochs lie in the trial's folder."""

    def __init__(self, kill=None, **stops):
        self.kill, self.stops, self.calls, self.lock = kill, stops, [], threading.Lock()

    def __call__(self, values, watch, folder):
        with self.lock:
            self.calls.append(values)
        state = folder / "epochs"
        done = int(state.read_text()) if state.exists() else 0
        if error := self.stops.get(values.get("schedule")):
            raise error
        value = values.get("learning_rate", 0) * (2 if values.get("schedule") == "cosine" else 1)
        for epoch in range(done + 1, EPOCHS + 1):
            if self.kill and (folder.name, epoch) == self.kill:
                raise Killed
            if watch({"epoch": epoch, "val_macro_f1": value * epoch / EPOCHS}):
                break
            state.write_text(str(epoch))
        return value


def in_sqlite(folder, **changes):
    return search(folder, storage=f"sqlite:///{folder}/study.db", **changes)


def facts(what):
    return [(t.number, t.state, t.value, t.params, t.intermediate_values) for t in opened(what).get_trials()]


def test_killed_search_ends_as_an_undisturbed_one(tmp_path, caplog):
    caplog.set_level("INFO", "cerraseg")
    whole = search(tmp_path / "whole")
    take_trials(whole, 1, Training(), tmp_path / "whole")
    what, folder = in_sqlite(tmp_path / "killed"), tmp_path / "killed"
    killed = Training(("trial_4", 3))
    with pytest.raises(Killed):
        take_trials(what, 1, killed, folder)
    before = opened(what).get_trials()
    assert [trial.state.name for trial in before] == ["COMPLETE"] * 4 + ["RUNNING"]
    assert (folder / "study/trial_4/epochs").read_text() == "2"
    resumed = Training()
    assert [row["number"] for row in take_trials(what, 1, resumed, folder)] == list(range(8))
    assert "trial 4: taken up again after epoch 2" in caplog.text
    assert len(killed.calls) == 5 and len(resumed.calls) == 4 and killed.calls[4] == resumed.calls[0]
    assert facts(what) == facts(whole)
    after = opened(what).get_trials()
    assert [(t.datetime_complete, t.params) for t in after[:4]] == [(t.datetime_complete, t.params) for t in before[:4]]
    assert not list((folder / "study").iterdir())


def test_first_trial_is_the_scenario_as_it_stands(tmp_path):
    first = Training()
    take_trials(search(tmp_path, trials=1), 1, first, tmp_path)
    assert first.calls[0]["learning_rate"] == 0.002


@pytest.mark.parametrize("hook", ["set_trial_param", "set_trial_user_attr"])
def test_trial_whose_draw_was_killed_belongs_to_who_comes_first(tmp_path, monkeypatch, hook):
    what, whole = in_sqlite(tmp_path), in_sqlite(tmp_path, study="whole")
    take_trials(whole, 1, Training(), tmp_path)
    original, seen = getattr(optuna.storages._CachedStorage, hook), []

    def dying(self, *args):
        seen.append(args)
        if len(seen) == 6:
            raise Killed
        return original(self, *args)

    with monkeypatch.context() as patched:
        patched.setattr(optuna.storages._CachedStorage, hook, dying)
        with pytest.raises(Killed):
            take_trials(what, 1, Training(), tmp_path)
    take_trials(what, 2, Training(), tmp_path)
    take_trials(what, 1, Training(), tmp_path)
    states = [trial.state for trial in opened(what).get_trials()]
    assert states == [TrialState.COMPLETE] * 8
    if hook == "set_trial_param":
        assert [row[3] for row in facts(what)] == [row[3] for row in facts(whole)]


def test_larger_budget_goes_on_and_a_spent_one_does_nothing(tmp_path):
    ten, six = search(tmp_path, trials=10), search(tmp_path, trials=6)
    take_trials(six, 1, Training(), tmp_path)
    first, idle, further = facts(six), Training(), Training()
    take_trials(six, 1, idle, tmp_path)
    take_trials(ten, 1, further, tmp_path)
    assert (len(idle.calls), len(further.calls)) == (0, 4)
    assert facts(ten)[:6] == first and len(facts(ten)) == 10


def test_known_parameters_are_not_tried_again(tmp_path):
    what = search(tmp_path, space={"schedule": ["constant", "cosine"], "learning_rate": [0.1, 0.2]}, own={}, trials=12)
    training = Training()
    take_trials(what, 1, training, tmp_path)
    assert 2 <= len(training.calls) <= 4
    assert len({tuple(sorted(values.items())) for values in training.calls}) == len(training.calls)
    done = opened(what).get_trials()
    assert [trial.state for trial in done] == [TrialState.COMPLETE] * 12
    for trial in done:
        if (same := trial.user_attrs.get("same_as")) is not None:
            assert (trial.params, trial.value) == (done[same].params, done[same].value)


def test_failed_trial_is_recorded_and_the_search_goes_on(tmp_path, caplog):
    caplog.set_level("INFO", "cerraseg")
    what = search(tmp_path)
    take_trials(what, 1, Training(constant=DataError("epoch 1: the training loss is nan")), tmp_path)
    done = opened(what).get_trials()
    assert {(t.params["schedule"], t.state.name, t.user_attrs.get("reason")) for t in done} == {
        ("constant", "FAIL", "epoch 1: the training loss is nan"),
        ("cosine", "COMPLETE", None),
    }
    assert len(done) == 8 and "failed: epoch 1: the training loss is nan" in caplog.text


def test_full_disk_is_no_fault_of_a_trial(tmp_path):
    with pytest.raises(OSError, match="No space left"):
        take_trials(search(tmp_path), 1, Training(constant=OSError("No space left"), cosine=OSError("No space left")),
                    tmp_path)  # fmt: skip
    assert [trial.state.name for trial in opened(search(tmp_path)).get_trials()] == ["RUNNING"]


def test_parameters_that_kill_their_worker_are_given_up(tmp_path):
    what = search(tmp_path, trials=2)
    for _ in range(3):
        with pytest.raises(Killed):
            take_trials(what, 1, Training(("trial_0", 1)), tmp_path)
    take_trials(what, 1, Training(), tmp_path)
    first, second = opened(what).get_trials()
    assert first.state == TrialState.FAIL and first.user_attrs["reason"] == "its worker ended 3 times in epoch 1"
    assert second.state == TrialState.COMPLETE


def test_orderly_ends_are_not_counted(tmp_path):
    what, stop = search(tmp_path, trials=2), StepStopped("stopped by SIGTERM")
    for _ in range(5):
        with pytest.raises(StepStopped):
            take_trials(what, 1, Training(constant=stop, cosine=stop), tmp_path)
    take_trials(what, 1, Training(), tmp_path)
    assert [trial.state for trial in opened(what).get_trials()] == [TrialState.COMPLETE] * 2


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_two_workers_share_a_budget_but_no_trial(tmp_path, kind):
    file = {"sqlite": "study.db", "journal": "study.log"}[kind]
    what = search(tmp_path, trials=12, workers=2, storage=f"{kind}:///{tmp_path}/{file}")

    class Slow(Training):
        def __call__(self, *args):
            time.sleep(0.02)
            return super().__call__(*args)

    training, shares = Slow(), {}
    threads = [
        threading.Thread(target=lambda n=n: shares.update({n: take_trials(what, n, training, tmp_path)}))
        for n in (1, 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(row["number"] for rows in shares.values() for row in rows) == list(range(12))
    assert all(shares.values()) and len(training.calls) == 12
    assert len({str(values) for values in training.calls}) == 12


def test_trial_of_a_worker_that_is_no_more_is_taken_up(tmp_path):
    two = search(tmp_path, trials=4, workers=2)
    with pytest.raises(Killed):
        take_trials(two, 2, Training(("trial_0", 2)), tmp_path)
    held = worker._held(tmp_path / "worker_2.lock")
    with held:  # it outlived its killed run
        rows = take_trials(dataclasses.replace(two, workers=1, trials=2), 1, Training(), tmp_path)
    assert [row["number"] for row in rows] == [1]
    rows = take_trials(dataclasses.replace(two, workers=1), 1, Training(), tmp_path)
    assert [row["number"] for row in rows] == [0, 1, 2, 3]


def test_pruned_trials_end_early_and_stay_pruned(tmp_path, monkeypatch):
    monkeypatch.setattr(optuna.trial.Trial, "should_prune", lambda trial: trial.number % 2 == 1)
    what = search(tmp_path, trials=4)
    with pytest.raises(Killed):
        take_trials(what, 1, Killing(), tmp_path)
    training = Training()
    take_trials(what, 1, training, tmp_path)
    done = opened(what).get_trials()
    assert [trial.state.name for trial in done] == ["COMPLETE", "PRUNED"] * 2
    assert [len(trial.intermediate_values) for trial in done] == [3, 1, 3, 1]
    assert len(training.calls) == 2  # not trial 1, which was killed after it had been pruned


class Killing(Training):
    """Killed between the end of the second training and the note of it."""

    def __call__(self, values, watch, folder):
        value = super().__call__(values, watch, folder)
        if folder.name == "trial_1":
            raise Killed
        return value
