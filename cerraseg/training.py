"""Train one scenario: Lightning runs the loop, the recipe says how, a killed training goes on from its last epoch."""

import fcntl
import json
import logging
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

import lightning.pytorch as L
import pandas as pd
import torch
from lightning.pytorch.callbacks import TQDMProgressBar

from cerraseg.dataset import EpochBatches, PackedPatches, loader
from cerraseg.errors import DataError
from cerraseg.files import replacing
from cerraseg.layout import edge_layer
from cerraseg.logs import log
from cerraseg.loop import Loop, Plan
from cerraseg.recipes import Recipe
from cerraseg.store import Store, batches, rows_of


@dataclass(frozen=True)
class Outputs:
    """Files of a finished training: best and last checkpoint, history (CSV, one row an epoch)."""

    best: Path
    last: Path
    history: Path


def train(plan: Plan, store: Store, split: Path, statistics: Path, outputs: Outputs, resume: Path) -> None:
    """Train a scenario and write its checkpoints and history.

    Args:
        plan: what to train.
        store: packed patches.
        split: split table.
        statistics: statistics of the training split.
        outputs: files to write, all at the end.
        resume: folder for the state after each epoch; a start with the same plan and data goes on from there, a
            different one starts anew. It is removed when the training has finished. If a training in another process
            still holds it, this one waits for its end.

    Raises:
        DataError: if the loss stops being finite.
        ConfigError: if the model cannot be built from its settings.
    """
    described = f"{plan}\n{store.header}\n{split.read_text()}\n{statistics.read_text()}"
    with _alone(resume, described) as twin_ended:
        if twin_ended and all(path.exists() for path in astuple(outputs)):
            log.info("the other training finished this scenario")
            return
        loop = _fit(plan, store, split, statistics, resume, _resume_state(resume, described))
        _write(outputs, loop, resume)
        shutil.rmtree(resume)


@contextmanager
def _alone(resume: Path, described: str) -> Iterator[bool]:
    """Hold the scenario's lock: a training that outlived its killed workflow is waited for, never joined.

    Yields whether there was such a training with the same plan and data.
    """
    resume.parent.mkdir(parents=True, exist_ok=True)
    with resume.with_name(f"{resume.name}.lock").open("w") as handle:
        twin = False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note = resume / "plan.txt"
            twin = note.exists() and note.read_text() == described
            log.warning("another training of this scenario is running and holds %s; waiting for its end", handle.name)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield twin


def _fit(plan: Plan, store: Store, split: Path, statistics: Path, resume: Path, state: Path | None) -> Loop:
    torch.set_num_threads(plan.threads)
    L.seed_everything(plan.scenario.seed, verbose=False)
    loop = Loop(plan, json.loads(statistics.read_text()), resume)
    level = plan.scenario.level
    layers = [level, *([edge_layer(level)] if plan.scenario.edges else [])]
    data = {
        part: PackedPatches(store, rows_of(split, part), plan.scenario.modality, layers)
        for part in ("train", "validation")
    }
    order = EpochBatches(len(data["train"]), plan.batch_size, plan.scenario.seed)
    loop.steps = plan.epochs * len(order)
    if state:  # Lightning would say so only after the workers have begun to read the first epoch's batches
        order.set_epoch(len(torch.load(state, weights_only=True, mmap=True)["history"]))
    _trainer(plan, loop.recipe, resume).fit(
        loop,
        loader(data["train"], order, _readers(plan)),
        loader(data["validation"], [b.tolist() for b in batches(range(len(data["validation"])), plan.batch_size)]),
        ckpt_path=state,
    )
    if not loop.finished:
        raise DataError(f"training stopped after epoch {len(loop.history)}; start it again to go on from there")
    return loop


def _readers(plan: Plan) -> int:
    return plan.threads - 1 if torch.cuda.is_available() else 0


def _trainer(plan: Plan, recipe: Recipe, folder: Path) -> L.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*does not have many workers.*|.*LeafSpec.*")
    return L.Trainer(
        max_epochs=plan.epochs,
        accelerator="auto",
        devices=1,
        precision="bf16-mixed" if recipe.mixed_precision and torch.cuda.is_available() else "32-true",
        deterministic="warn",
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[TQDMProgressBar()] if sys.stderr.isatty() else [],
        enable_progress_bar=sys.stderr.isatty(),
        default_root_dir=folder,
    )


def _resume_state(resume: Path, described: str) -> Path | None:
    """The state to go on from, if it belongs to this very plan and data; else clear the folder."""
    note, state = resume / "plan.txt", resume / "last.ckpt"
    if note.exists() and note.read_text() == described:
        if state.exists():
            log.info("going on from the state in %s", resume)
            return state
        return None
    if resume.exists():
        log.info("the state in %s is of another plan or other data; starting anew", resume)
        shutil.rmtree(resume)
    with replacing(note) as temporary:
        temporary.write_text(described)
    return None


def _write(outputs: Outputs, loop: Loop, resume: Path) -> None:
    history = pd.DataFrame(loop.history)
    history["selected"] = history["epoch"] == loop.best_epoch
    with replacing(outputs.history) as temporary:
        history.to_csv(temporary, index=False, float_format="%.6g")
    with replacing(outputs.best) as temporary:
        shutil.copyfile(resume / "best.pt", temporary)
    loop.save(outputs.last)
    best = loop.history[loop.best_epoch - 1]
    log.info(
        "best epoch %d of %d: validation macro F1 %.2f %%", best["epoch"], len(history), 100 * best["val_macro_f1"]
    )
