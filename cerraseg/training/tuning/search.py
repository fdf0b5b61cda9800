"""A worker of a search of hyper-parameters: Optuna draws, prunes and records, each trial is an ordinary training."""

import fcntl
import hashlib
import json
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import TPESampler
from optuna.storages import RetryHeartbeatStaleTrialCallback as Retry
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from optuna_integration import PyTorchLightningPruningCallback

from cerraseg.config.normalisation import check_normalisation
from cerraseg.config.recipes import check_accumulate, check_recipe
from cerraseg.config.search_space import change, inside
from cerraseg.core.errors import CerraSegError, StorageError
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log
from cerraseg.core.signals import StepStopped
from cerraseg.data.packed import Store
from cerraseg.training.plan import Plan
from cerraseg.training.train import Outputs, described, train
from cerraseg.training.tuning.study import open_storage, storable, suggest

_STARTUP = 5  # trials drawn at random before the sampler learns, and finished ones before anything is pruned
_MAX_RETRIES = 2  # of a trial whose worker was killed: its parameters may be the reason
_LONGEST_NOTE = 500  # characters; MySQL allows 2048
_PRUNERS: dict[str, Callable[[int], BasePruner]] = {
    "median": lambda epochs: MedianPruner(_STARTUP, n_warmup_steps=epochs // 10),
    "hyperband": lambda epochs: HyperbandPruner(1, epochs),
    "none": lambda epochs: NopPruner(),
}

Data = tuple[Store, Path, Path]
"""What every trial trains on: packed patches, split table, statistics of the training split."""


def run_worker(
    plan: Plan, data: Data, tune: Mapping[str, Any], storage: str, worker: int, folder: Path, marker: Path
) -> None:
    """Run trials, drawn by the tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011), while any are left.

    Args:
        plan: the scenario as it stands, with a trial's epochs.
        data: what is trained on.
        tune: ``space``, ``trials``, ``workers``, ``pruner`` and ``seed`` of the configuration's section.
        storage: URL of the study's storage, its environment variables not expanded.
        worker: number of this worker, from 1; no other process may have it.
        folder: for the states of trainings.
        marker: JSON to write: the study's name.

    Raises:
        ConfigError: if the storage cannot be opened.
        StepStopped: on SIGTERM or SIGINT; the trial is run again at the next start.
        StorageError: if the disk is full; likewise.
    """
    warnings.filterwarnings("ignore", category=ExperimentalWarning)  # the retry callback's
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "study.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two workers that create a database's tables at once fail
        study = _open_study(plan, data, tune, storage, worker)
        _retry_interrupted(study, worker, tune["workers"])
    log.info("study %s", study.study_name)
    state = folder / str(worker)

    def after_trial(study: Study, trial: FrozenTrial) -> None:
        ended, value = trial.state.name.lower(), 100 * (trial.value or 0)
        log.info("trial %d %s, validation macro F1 %.2f %%: %s", trial.number, ended, value, trial.params)
        shutil.rmtree(state, ignore_errors=True)
        if _started(study) >= tune["trials"]:
            study.stop()

    run = partial(_run_trial, plan=plan, data=data, space=tune["space"], worker=worker, folder=state)
    if _started(study) < tune["trials"]:
        study.optimize(run, callbacks=[after_trial], gc_after_trial=True)
    with atomic_write(marker) as temporary:
        temporary.write_text(json.dumps({"study": study.study_name}) + "\n")


def _open_study(plan: Plan, data: Data, tune: Mapping[str, Any], storage: str, worker: int) -> Study:
    """The study, made where there is none, under a digest of all that decides a trial's value."""
    text = f"{json.dumps(tune['space'], sort_keys=True)}\n{described(plan, *data)}"
    study = optuna.create_study(
        storage=open_storage(storage),
        study_name=f"{plan.scenario.id}-{hashlib.sha256(text.encode()).hexdigest()[:12]}",
        pruner=_PRUNERS[tune["pruner"]](plan.epochs),
        direction="maximize",
        load_if_exists=True,
    )
    place = tune["seed"], worker, len(study.get_trials(deepcopy=False))  # else a restart repeats its first draws
    seed = int(np.random.SeedSequence(place).generate_state(1)[0])
    study.sampler = TPESampler(n_startup_trials=_STARTUP, seed=seed)
    own = {**vars(plan.recipe), "weighting": plan.scenario.weighting, "batch_size": plan.batch_size}
    own |= {f"model.{key}": value for key, value in plan.settings.items()}
    if own := inside(tune["space"], own):
        study.enqueue_trial({key: storable(value) for key, value in own.items()}, skip_if_exists=True)
    return study


def _retry_interrupted(study: Study, worker: int, workers: int) -> None:
    """Queue again the trials that were left running by this worker, or by one whose number is in use no more."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        owner = trial.user_attrs.get("worker", 0)
        if owner == worker or owner > workers:
            log.info("trial %d was interrupted after %d epochs", trial.number, len(trial.intermediate_values))
            study.tell(trial.number, state=TrialState.FAIL)
            Retry(_MAX_RETRIES, inherit_intermediate_values=True)(study, trial)


def _started(study: Study) -> int:
    """How many trials have ended or run, but for those that were interrupted and queued again."""
    trials = study.get_trials(deepcopy=False)
    retried = {number for trial in trials for number in Retry.retry_history(trial)}
    taken = (trial for trial in trials if trial.state != TrialState.WAITING and "worker" in trial.user_attrs)
    return sum(trial.number not in retried for trial in taken)


def _run_trial(trial: Trial, plan: Plan, data: Data, space: Mapping[str, Any], worker: int, folder: Path) -> float:
    """The validation macro F1 of the epoch that a trial's training keeps; NaN, with a note why, if it fails."""
    trial.set_user_attr("worker", worker)
    values = suggest(trial, space)
    done = trial.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if same := next((other for other in done if other.params == trial.params), None):
        trial.set_user_attr("note", f"as trial {same.number}")
        return float(same.value or 0)
    pruning = PyTorchLightningPruningCallback(trial, monitor="val_macro_f1")
    outputs = Outputs(*(folder / name for name in ("best.pt", "last.pt", "history.csv")))
    try:
        # An interrupted trial finds the state of its training here, where the same worker takes it again.
        train(planned(plan, values), *data, outputs, folder / "state", [pruning])
        history = pd.read_csv(outputs.history)
        return float(history["val_macro_f1"][history["selected"]].iloc[0])
    except (StepStopped, StorageError):  # no fault of the trial's
        frozen = next(one for one in trial.study.get_trials() if one.number == trial.number)
        Retry(inherit_intermediate_values=True)(trial.study, frozen)
        raise
    except (CerraSegError, RuntimeError, ValueError) as error:
        pruning.check_pruned()  # several devices end in an error where one raises TrialPruned
        log.warning("trial %d failed: %s", trial.number, error)
        trial.set_user_attr("note", str(error)[:_LONGEST_NOTE])
        return float("nan")


def planned(plan: Plan, values: Mapping[str, Any]) -> Plan:
    """Return the plan with the values of a trial, parameter → value; refuse those that do not go together."""
    changed = change(values)
    scenario, recipe = replace(plan.scenario, **changed.scenario), replace(plan.recipe, **changed.recipe)
    check_recipe(scenario, recipe, plan.dataset)
    check_normalisation(scenario.recipe, recipe, plan.dataset.bands(scenario.modality))
    settings = {**plan.settings, **changed.settings}
    made = replace(plan, scenario=scenario, recipe=recipe, settings=settings, **changed.training)
    check_accumulate("the trial's batch", made.batch, made.accumulate)
    return made
