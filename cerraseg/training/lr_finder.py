"""The learning-rate range test of a scenario (L. N. Smith, "Cyclical Learning Rates", WACV 2017), run by Lightning."""

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from lightning.pytorch.tuner.tuning import Tuner
from numpy.typing import NDArray

from cerraseg.config.scenario import BASELINE
from cerraseg.core.errors import ConfigError, DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log
from cerraseg.core.memory import explain_out_of_memory
from cerraseg.core.signals import StepStopped, StopSignal, stoppable
from cerraseg.data.packed import Store
from cerraseg.training.plan import Plan, fewer_at_once
from cerraseg.training.train import prepare
from cerraseg.training.trainer import build_trainer

_LOWEST, _HIGHEST, _STEPS = 1e-6, 1.0, 100
_SKIPPED = 10  # first steps, at which Lightning's running mean is too low


def find_learning_rate(plan: Plan, store: Store, split: Path, statistics: Path, table: Path, suggestion: Path) -> None:
    """Try 100 learning rates from 1e-6 to 1 on a scenario's own model and batches, and suggest one.

    One device computes them. ``table`` (CSV: learning_rate, loss, a running mean) and ``suggestion`` (JSON) are made.

    Raises:
        ConfigError: if the scenario is a baseline.
        DataError: if the loss never falls.
        MemoryShortage: if a batch is too large for the memory.
        StepStopped: on SIGTERM or SIGINT.
    """
    if plan.scenario.recipe == BASELINE:
        raise ConfigError(f"{plan.scenario.id}: a baseline has a fixed learning rate; expected another scenario")
    try:
        with stoppable(), explain_out_of_memory(fewer_at_once(plan)), TemporaryDirectory() as folder:
            module, trained, _ = prepare(store, plan, split, statistics)
            tuner = Tuner(build_trainer(replace(plan, epochs=_STEPS), Path(folder)))
            found = tuner.lr_find(
                module, trained, min_lr=_LOWEST, max_lr=_HIGHEST, num_training=_STEPS, update_attr=False
            )
    except StopSignal as stop:
        raise StepStopped(f"stopped by {stop}; nothing was written") from None
    assert found
    loss = plan.accumulate * np.array(found.results["loss"])  # Lightning divides it
    tried = pd.DataFrame({"learning_rate": found.results["lr"], "loss": loss})
    chosen = _steepest_rate(tried["learning_rate"].to_numpy(), loss)
    own = plan.recipe.learning_rate
    facts = {"scenario": plan.scenario.id, "suggestion": chosen, "recipe": own, "steps": len(tried)}
    with atomic_write(table) as temporary:
        tried.to_csv(temporary, index=False, float_format="%.6g")
    with atomic_write(suggestion) as temporary:
        temporary.write_text(json.dumps(facts, indent=2) + "\n")
    log.info("learning rate %.1e suggested; recipe %s has %.1e", chosen, plan.scenario.recipe, own)


def _steepest_rate(rates: NDArray[Any], losses: NDArray[Any]) -> float:
    """Return the rate at which the loss falls most by the rate's logarithm; Lightning goes by the rate itself."""
    kept = np.isfinite(losses) & (np.arange(len(losses)) >= _SKIPPED)
    slopes = np.gradient(losses[kept], np.log(rates[kept])) if kept.sum() > 1 else np.zeros(0)
    if not (slopes < 0).any():
        raise DataError(
            f"the loss does not fall in the {len(rates)} steps of the range test; at some rate it should: "
            "look for extreme pixel values in the statistics, or at the losses of the recipe"
        )
    return float(rates[kept][np.argmin(slopes)])
