"""A search of hyper-parameters over trainings of a scenario: what one of its workers does."""

import gc
import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from cerraseg.config.recipes import check_recipe
from cerraseg.config.search_space import change, inside
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log
from cerraseg.data.packed import Store
from cerraseg.training.plan import Plan
from cerraseg.training.train import Outputs, described, train
from cerraseg.training.tuning.study import Search, Watch
from cerraseg.training.tuning.worker import Objective, take_trials


@dataclass(frozen=True)
class Data:
    """What every trial trains on: packed patches, split table, statistics of the training split."""

    store: Store
    split: Path
    statistics: Path


def work(
    plan: Plan, data: Data, tune: Mapping[str, Any], storage: str, worker: int, folder: Path, marker: Path
) -> None:
    """Take trials until the search's budget is spent, and write what this worker did.

    The study's name holds a digest of all that decides a trial's value, data and code among it: a search of another
    space, scenario or code has a study of its own in the same storage, and never mixes values with this one.

    Args:
        plan: the scenario as it stands, with a trial's epochs.
        data: what is trained on.
        tune: ``space``, ``trials``, ``workers``, ``pruner`` and ``seed`` of the configuration's section.
        storage: URL of the study's storage.
        worker: number of this worker, from 1.
        folder: for the states of trials.
        marker: JSON to write: the study, and this worker's trials with state and value.

    Raises:
        ConfigError: if the storage cannot be opened.
        StepStopped: on SIGTERM or SIGINT; the next start goes on from the trial's last epoch.
    """
    own = {**vars(plan.recipe), "weighting": plan.scenario.weighting, "batch_size": plan.batch_size}
    own |= {f"model.{key}": value for key, value in plan.settings.items()}
    search = Search(
        _name(plan, data, tune["space"]), storage, own=inside(tune["space"], own), epochs=plan.epochs, **tune
    )
    log.info("study %s", search.study)
    done = take_trials(search, worker, _training(plan, data), folder)
    log.info("worker %d is done: %d trials", worker, len(done))
    with atomic_write(marker) as temporary:
        temporary.write_text(json.dumps({"study": search.study, "worker": worker, "trials": done}, indent=2) + "\n")


def _name(plan: Plan, data: Data, space: Mapping[str, Any]) -> str:
    text = f"{json.dumps(space, sort_keys=True)}\n{described(plan, data.store, data.split, data.statistics)}"
    return f"{plan.scenario.id}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _training(plan: Plan, data: Data) -> Objective:
    """The objective: validation macro F1 of the epoch that the training keeps."""

    def objective(values: Mapping[str, Any], watch: Watch, folder: Path) -> float:
        outputs = Outputs(*(folder / name for name in ("best.pt", "last.pt", "history.csv")))
        if not outputs.history.exists():  # else killed after the training
            with _quiet():
                train(planned(plan, values), data.store, data.split, data.statistics, outputs, folder / "state", watch)
        history = pd.read_csv(outputs.history)
        return float(history["val_macro_f1"][history["selected"]].iloc[0])

    return objective


def planned(plan: Plan, values: Mapping[str, Any]) -> Plan:
    """The plan with the values of a trial, parameter → value.

    Raises:
        ConfigError: if these do not go together.
    """
    changed = change(values)
    scenario, recipe = replace(plan.scenario, **changed.scenario), replace(plan.recipe, **changed.recipe)
    check_recipe(scenario, recipe)
    settings = {**plan.settings, **changed.settings}
    return replace(plan, scenario=scenario, recipe=recipe, settings=settings, **changed.training)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep a training's words out of the log of a search, which has a line a trial; and free its memory."""

    def loud(record: logging.LogRecord) -> bool:
        return record.levelno > logging.INFO

    log.addFilter(loud)
    try:
        yield
    finally:
        log.removeFilter(loud)
        gc.collect()
        torch.cuda.empty_cache()
