"""A worker of a search: takes trials until the budget is spent, and goes on with what a killed worker left."""

import fcntl
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from cerraseg.core.errors import CerraSegError, StorageError
from cerraseg.core.logs import log
from cerraseg.core.signals import StepStopped
from cerraseg.training.tuning.study import Search, Watch, best, draw, of, opened, taken, twin, values

Objective = Callable[[Mapping[str, Any], Watch, Path], float]
"""Trains with the values of a trial, tells the watch of every epoch, keeps what it needs in the folder, whose contents
it finds again where an earlier call was killed; gives the validation macro F1 (a fraction)."""

_MOST_STARTS = 3  # of a trial that gets no epoch further
_LONGEST_REASON = 500  # characters; MySQL allows 2048


def take_trials(search: Search, worker: int, objective: Objective, folder: Path) -> list[dict[str, Any]]:
    """Take trials, one after another, until the budget of all workers is spent; what became of this worker's.

    A trial that this worker left in the middle is taken up again first, with the same parameters and its folder; that
    of a worker whose number is above ``search.workers`` by whoever comes first. Parameters that were tried before get
    the known value. A trial that fails is recorded with its reason, and the search goes on.

    Args:
        search: what is searched.
        worker: number of this worker, from 1. Another process with that number is waited for.
        objective: the training of a trial.
        folder: for locks and for the states of trials; each trial's is removed when it ends.

    Raises:
        ConfigError: if the storage cannot be opened.
        StepStopped: as ``objective`` does; the trial is taken up again at the next start.
        StorageError: likewise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / f"worker_{worker}.lock"
    if not _free(lock):
        log.warning("another process is worker %d and holds %s; waiting for its end", worker, lock)
    with _held(lock):
        with _held(folder / "claim.lock"):
            study = opened(search)
        while (trial := _claim(search, study, worker, folder)) is not None:
            _carry_out(search, trial, objective, folder / search.study / f"trial_{trial.number}")
    return [
        {"number": trial.number, "state": trial.state.name.lower(), "value": trial.value}
        for trial in study.get_trials(deepcopy=False)
        if trial.user_attrs.get("worker") == worker
    ]


@contextmanager
def _held(lock: Path) -> Iterator[None]:
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _free(lock: Path) -> bool:
    """Whether no process holds the lock."""
    with lock.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _claim(search: Search, study: Study, worker: int, folder: Path) -> Trial | None:
    """The trial to carry out next, which no other worker has or gets."""
    with _held(folder / "claim.lock"):
        trials = [trial for trial in study.get_trials(deepcopy=False) if taken(trial)]
        for left in trials:
            if left.state == TrialState.RUNNING and _abandoned(left, worker, search.workers, folder):
                if _hopeless(left):
                    _fail(of(study, left), f"its worker ended {_MOST_STARTS} times in epoch {_epochs(left) + 1}")
                    continue
                log.info("trial %d: taken up again after epoch %d", left.number, _epochs(left))
                return _owned(draw(search, study, left), worker, left)
        return _owned(draw(search, study, None), worker) if len(trials) < search.trials else None


def _abandoned(trial: FrozenTrial, worker: int, workers: int, folder: Path) -> bool:
    """Whether the worker of a running trial was this one, or is none of this run's; without one it died drawing."""
    owner = trial.user_attrs.get("worker", worker)
    return owner == worker or (owner > workers and _free(folder / f"worker_{owner}.lock"))


def _epochs(trial: FrozenTrial) -> int:
    return trial.last_step or 0


def _hopeless(left: FrozenTrial) -> bool:
    """Whether the trial was started often enough without another epoch: its parameters may be what kills a worker."""
    epoch, times = left.user_attrs.get("started", (0, 0))
    return bool(epoch == _epochs(left) and times >= _MOST_STARTS)


def _owned(trial: Trial, worker: int, left: FrozenTrial | None = None) -> Trial:
    done = _epochs(left) if left else 0
    epoch, times = trial.user_attrs.get("started", (0, 0))
    trial.set_user_attr("started", [done, times + 1 if epoch == done else 1])
    trial.set_user_attr("worker", worker)
    return trial


def _carry_out(search: Search, trial: Trial, objective: Objective, folder: Path) -> None:
    study, number = trial.study, trial.number
    if same := twin(study, number):
        _repeat(study, trial, same)
    elif not trial.user_attrs.get("pruned"):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            value = objective(values(trial.params, search.space), Watch(search, trial), folder)
            if not _frozen(study, number).user_attrs.get("pruned"):
                study.tell(number, value)
        except (StepStopped, StorageError):
            epoch, times = trial.user_attrs["started"]
            trial.set_user_attr("started", [epoch, times - 1])  # no fault of the trial's
            raise
        except (CerraSegError, RuntimeError, ValueError) as error:
            _fail(trial, str(error))
    if _frozen(study, number).state == TrialState.RUNNING:
        study.tell(number, state=TrialState.PRUNED)
    shutil.rmtree(folder, ignore_errors=True)
    _report(study, number)


def _repeat(study: Study, trial: Trial, same: FrozenTrial) -> None:
    """Give a trial what one with the same parameters gave."""
    for step, value in same.intermediate_values.items():
        if step not in _frozen(study, trial.number).intermediate_values:
            trial.report(value, step)
    trial.set_user_attr("same_as", same.number)
    if same.state == TrialState.COMPLETE:
        study.tell(trial.number, same.value)


def _fail(trial: Trial, reason: str) -> None:
    trial.set_user_attr("reason", reason[:_LONGEST_REASON])
    trial.study.tell(trial.number, state=TrialState.FAIL)


def _frozen(study: Study, number: int) -> FrozenTrial:
    return next(trial for trial in study.get_trials(deepcopy=False) if trial.number == number)


def _report(study: Study, number: int) -> None:
    """The line of a trial in the log."""
    trial, leader = _frozen(study, number), best(study.get_trials(deepcopy=False))
    seconds = trial.user_attrs.get("seconds", 0)
    how = {TrialState.COMPLETE: "finished", TrialState.PRUNED: f"pruned after epoch {_epochs(trial)}"}
    if reason := trial.user_attrs.get("reason"):
        result = f"failed: {reason}"
    else:
        known = f", as trial {trial.user_attrs['same_as']}" if "same_as" in trial.user_attrs else f", {seconds:.0f} s"
        result = f"{how[trial.state]}{known}, validation macro F1 {100 * (trial.value or 0):.2f} %"
    of_best = f" (best: {100 * (leader.value or 0):.2f} %, trial {leader.number})" if leader else ""
    drawn = ", ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
                      for key, value in trial.params.items())  # fmt: skip
    level = logging.WARNING if reason else logging.INFO
    log.log(level, "trial %d %s%s: %s", number, result, of_best, drawn)
