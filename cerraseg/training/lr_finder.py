"""A learning rate for a scenario, from the range test: it rises step by step, and the loss tells where it helps most.

Source: L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", WACV (2017). Lightning's own finder goes
through ``Trainer.fit``, whose hooks here write to the folder that a killed training goes on from; this one calls the
loop's steps and nothing else.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from cerraseg.core.errors import DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log, progress
from cerraseg.core.memory import explain_out_of_memory
from cerraseg.core.signals import StepStopped, StopSignal, stoppable
from cerraseg.data.packed import Store
from cerraseg.report.figures import learning_rates
from cerraseg.training.batches import Batch, Batches
from cerraseg.training.distributed.sync import Team
from cerraseg.training.module import Loop
from cerraseg.training.plan import Plan, fewer_at_once
from cerraseg.training.train import prepared
from cerraseg.training.trainer import mixed

_LOWEST, _HIGHEST, _STEPS = 1e-6, 1.0, 100
_STAYS = 0.9  # of the running mean of the loss at each step
_WORSE = 4.0  # times its best, where the test ends
_WINDOW = 11  # steps over whose median the loss is smoothed: centred, as a running mean would suggest too high a rate


@dataclass(frozen=True)
class Outputs:
    """Files of a range test: picture (SVG), table (CSV: learning_rate, loss, smoothed) and suggestion (JSON)."""

    picture: Path
    table: Path
    suggestion: Path


def find(plan: Plan, store: Store, split: Path, statistics: Path, outputs: Outputs, source: str) -> None:
    """Try 100 learning rates from 1e-6 to 1 on a scenario's own model and batches, and suggest one.

    Args:
        plan: of the scenario; one device computes it.
        store: packed patches.
        split: split table.
        statistics: statistics of the training split.
        outputs: files to write.
        source: what the data is called, in the picture.

    Raises:
        DataError: if the loss is not finite before anything can be said.
        MemoryShortage: if a batch is too large for the memory.
        StepStopped: on SIGTERM or SIGINT.
    """
    try:
        with stoppable(), explain_out_of_memory(fewer_at_once(plan)):
            loop, trained, _ = prepared(Team(), store, plan, split, statistics, outputs.picture.parent)
            tried = sweep(loop, trained)
    except StopSignal as stop:
        raise StepStopped(f"stopped by {stop}; nothing was written") from None
    chosen = suggestion(tried["learning_rate"].to_numpy(), tried["smoothed"].to_numpy())
    own = plan.recipe.learning_rate
    said = {"scenario": plan.scenario.id, "suggestion": chosen, "recipe": own, "steps": len(tried)}
    with atomic_write(outputs.table) as temporary:
        tried.to_csv(temporary, index=False, float_format="%.6g")
    with atomic_write(outputs.suggestion) as temporary:
        temporary.write_text(json.dumps(said, indent=2) + "\n")
    columns = {str(name): tried[name].to_numpy() for name in tried}
    title = f"Range test of the learning rate, {plan.scenario.id}: {chosen:.1e} suggested"
    learning_rates(columns, chosen, own, outputs.picture, title=title, source=source)
    log.info("learning rate %.1e suggested; recipe %s has %.1e", chosen, plan.scenario.recipe, own)


def sweep(loop: Loop, batches: Batches) -> pd.DataFrame:
    """Train with a learning rate that rises from step to step, until the loss explodes.

    Returns a row a step: learning_rate, loss and smoothed, its median over the steps around.
    """
    loop.on_train_epoch_start()  # clears the sums of losses
    optimizer, parts = loop.configure_optimizers()["optimizer"], _endless(loop, batches)
    rates = np.geomspace(_LOWEST, _HIGHEST, _STEPS)
    rows, mean, best = [], 0.0, np.inf
    for step, rate in enumerate(progress(rates, "learning rate", _STEPS)):
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = _step(loop, optimizer, parts)
        mean = _STAYS * mean + (1 - _STAYS) * loss
        running = mean / (1 - _STAYS ** (step + 1))
        best = min(best, running)
        if not running <= _WORSE * best:  # nor if it is not a number
            break
        rows.append((rate, loss))
    tried = pd.DataFrame(rows, columns=["learning_rate", "loss"])
    return tried.assign(smoothed=tried["loss"].rolling(_WINDOW, center=True, min_periods=1).median())


def _endless(loop: Loop, batches: Batches) -> Iterator[tuple[int, Batch, bool]]:
    """The training's parts of batches, epoch after epoch: place in the epoch, part, whether it completes its batch."""
    for epoch in count():
        loop.order.set_epoch(epoch)
        for index, part in enumerate(batches):
            yield index, part, (index + 1) % loop.plan.accumulate == 0 or index + 1 == len(batches)


def _step(loop: Loop, optimizer: torch.optim.Optimizer, parts: Iterator[tuple[int, Batch, bool]]) -> float:
    """One step of the optimiser; returns the loss."""
    optimizer.zero_grad()
    total, complete = 0.0, False
    while not complete:
        index, part, complete = next(parts)
        with torch.autocast(loop.device.type, torch.bfloat16, enabled=mixed(loop.plan)):
            loss = loop.training_step(part, index) / loop.plan.accumulate
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    optimizer.step()
    return total


def suggestion(rates: NDArray[Any], smoothed: NDArray[Any]) -> float:
    """The learning rate around which the smoothed loss falls most, over as many steps as it is smoothed over.

    Raises:
        DataError: if it never falls, or the loss explodes at once.
    """
    half = _WINDOW // 2
    falls = smoothed[: -2 * half] - smoothed[2 * half :]
    if not (falls > 0).any():
        raise DataError(
            f"the loss does not fall in the {len(rates)} steps of the range test; at some rate it should: "
            "look for extreme pixel values in the statistics, or at the losses of the recipe"
        )
    return float(rates[half + int(np.argmax(falls))])
