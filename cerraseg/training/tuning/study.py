"""The study of a search in its Optuna storage: opened, drawn from, and told of every epoch of a trial.

Parameters are drawn by the tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011).
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from cerraseg.config.search_space import Space
from cerraseg.config.storage_url import expanded, masked
from cerraseg.core.errors import ConfigError

STARTUP = 5
"""Trials that are drawn at random before the sampler learns, and finished ones before anything is pruned."""

_PATIENCE = 120  # seconds that one worker waits for another's write to SQLite
_PRUNERS: dict[str, Callable[[int], BasePruner]] = {
    "median": lambda epochs: MedianPruner(STARTUP, n_warmup_steps=epochs // 10),
    "hyperband": lambda epochs: HyperbandPruner(1, epochs),
    "none": lambda epochs: NopPruner(),
}


@dataclass(frozen=True)
class Search:
    """What is searched, and how.

    Attributes:
        study: name of the study, which no other search shares.
        storage: URL of the storage, not expanded.
        space: parameter → choices or range, see :mod:`cerraseg.config.search_space`.
        own: values of the scenario as it stands, where the space holds them: the first trial's.
        epochs: most epochs of a trial.
        trials: how many, over all workers.
        workers: jobs that take trials side by side, from 1.
        pruner: ``median``, ``hyperband`` or ``none``.
        seed: of the draws.
    """

    study: str
    storage: str = field(repr=False)
    space: Space
    own: Mapping[str, Any]
    epochs: int
    trials: int
    workers: int = 1
    pruner: str = "median"
    seed: int = 1


def opened(search: Search) -> Study:
    """The study, made where there is none; only one process at a time may make it.

    Raises:
        ConfigError: if the storage cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner = _PRUNERS[search.pruner](search.epochs)
    study = optuna.create_study(
        storage=_storage(search.storage),
        pruner=pruner,
        study_name=search.study,
        direction="maximize",
        load_if_exists=True,
    )
    if search.own and not study.get_trials(deepcopy=False):
        study.enqueue_trial({key: _stored(value) for key, value in search.own.items()})
    return study


def finished(name: str, storage: str) -> Study:
    """The study of that name, to look at.

    Raises:
        ConfigError: if the storage cannot be opened or has no such study.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        return optuna.load_study(study_name=name, storage=_storage(storage))
    except KeyError:
        raise ConfigError(
            f"tune.storage: {masked(storage)} has no study {name}, which the workers filled; expected the storage that "
            "they used: put it back, or remove the folder tune of the results to search anew"
        ) from None


def _storage(url: str) -> BaseStorage:
    filled = expanded(url)
    kind, _, path = filled.partition("://")
    try:
        if kind == "journal":  # as with SQLite, three slashes and a relative path
            file = Path(path[1:])
            file.parent.mkdir(parents=True, exist_ok=True)
            return JournalStorage(JournalFileBackend(str(file)))
        if kind == "sqlite":
            Path(path[1:]).parent.mkdir(parents=True, exist_ok=True)
        options = {"connect_args": {"timeout": _PATIENCE}} if kind == "sqlite" else {"pool_pre_ping": True}
        return RDBStorage(filled, engine_kwargs=options)
    except Exception as error:  # of whatever driver, and its text may hold the password
        raise ConfigError(
            f"tune.storage: {masked(url)} cannot be opened ({type(error).__name__}); expected a database that answers "
            "and whose driver is installed, or the path of a file in a folder that can be written"
        ) from None


def draw(search: Search, study: Study, left: FrozenTrial | None) -> Trial:
    """The next trial with its parameters, or one that was ``left`` in the middle, with those that it has.

    The draw depends on the seed, the trial's number and what the trials before it gave.
    """
    number = left.number if left else sum(map(taken, study.get_trials(deepcopy=False)))
    seed = int(np.random.SeedSequence((search.seed, number)).generate_state(1)[0])
    study.sampler = TPESampler(n_startup_trials=STARTUP, seed=seed)
    trial = of(study, left) if left else study.ask()
    for key, given in search.space.items():
        _suggest(trial, key, given)
    return trial


def _suggest(trial: Trial, key: str, given: Any) -> None:
    """Draw a parameter, unless the trial has it."""
    if isinstance(given, list):
        trial.suggest_categorical(key, [_stored(choice) for choice in given])
    elif isinstance(given["low"], int):
        trial.suggest_int(key, given["low"], given["high"], log=given["log"])
    else:
        trial.suggest_float(key, given["low"], given["high"], log=given["log"])


def of(study: Study, left: FrozenTrial) -> Trial:
    """A running trial as the process that draws or reports needs it, whoever began it."""
    return Trial(study, left._trial_id)  # by number, Optuna can only end one


def taken(trial: FrozenTrial) -> bool:
    """Whether a worker has taken the trial; the first waits until one does."""
    return trial.state != TrialState.WAITING


def values(params: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """Parameter → value, as a configuration has it, of what a trial holds."""
    return {
        key: next(choice for choice in space[key] if _stored(choice) == params[key])
        if isinstance(space[key], list)
        else params[key]
        for key in space
    }


def twin(study: Study, number: int) -> FrozenTrial | None:
    """The first finished or pruned trial with the same parameters as that of this number."""
    trials = study.get_trials(deepcopy=False)
    params = next(trial.params for trial in trials if trial.number == number)
    known = (trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED))
    return next((trial for trial in known if trial.params == params), None)


def best(trials: Iterable[FrozenTrial]) -> FrozenTrial | None:
    """The finished trial with the best value, the earliest of equals."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return max(complete, key=lambda trial: (trial.value or 0.0, -trial.number), default=None)


def _stored(choice: Any) -> Any:
    """A choice as Optuna can store it: a list, of channels for instance, as its text."""
    return json.dumps(choice) if isinstance(choice, list) else choice


class Watch:
    """Tells the study of every epoch, and whether the trial falls behind: the watch of its training.

    Where several devices train, the first one's process gets a copy, which opens the study for itself.
    """

    def __init__(self, search: Search, trial: Trial) -> None:
        self.search, self.trial = search, trial
        self.began = time.monotonic() - trial.user_attrs.get("seconds", 0)  # those before it was taken up again

    def __call__(self, row: Mapping[str, float]) -> bool:
        """Record the epoch's validation macro F1; true if the trial is to be pruned. The last epoch never is."""
        self.trial.report(row["val_macro_f1"], int(row["epoch"]))
        self.trial.set_user_attr("seconds", round(time.monotonic() - self.began, 1))
        if row["epoch"] >= self.search.epochs or not self.trial.should_prune():
            return False
        self.trial.set_user_attr("pruned", True)
        return True

    def __getstate__(self) -> dict[str, Any]:
        return {"search": self.search, "began": self.began, "id": self.trial._trial_id}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.search, self.began = state["search"], state["began"]
        self.trial = Trial(opened(self.search), state["id"])
