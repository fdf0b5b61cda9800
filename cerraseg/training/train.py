"""Train one scenario with Lightning; a training that was killed goes on from its last finished epoch."""

import fcntl
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import pandas as pd
import torch

from cerraseg.config.scenario import AXES, BASELINE
from cerraseg.core.content import content
from cerraseg.core.errors import ConfigError, DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log
from cerraseg.core.memory import explain_out_of_memory
from cerraseg.core.signals import StepStopped, StopSignal, ignore_signals, stoppable
from cerraseg.core.storage import need_room
from cerraseg.data.packed import Header, Store, batches, open_array
from cerraseg.data.tables import rows_of
from cerraseg.models import checkpoint
from cerraseg.models.inference import device
from cerraseg.training import baseline, distributed
from cerraseg.training.batches import PackedPatches, Streamed, loaders
from cerraseg.training.calibrate import save_calibrated
from cerraseg.training.distributed import ONLY_PROCESS, Share
from cerraseg.training.epoch_record import EpochRecord
from cerraseg.training.module import TrainingModule
from cerraseg.training.nan_guard import NanGuard
from cerraseg.training.order import EpochBatches, find_pixels
from cerraseg.training.plan import Plan, fewer_at_once
from cerraseg.training.trainer import build_trainer, mixed
from cerraseg.training.weightings import draw_shares


@dataclass(frozen=True)
class Outputs:
    """Files of a finished training: best and last checkpoint, history (CSV, one row per epoch)."""

    best: Path
    last: Path
    history: Path


def train(
    plan: Plan,
    store: Store,
    split: Path,
    statistics: Path,
    outputs: Outputs,
    resume: Path,
    callbacks: Sequence[L.Callback] = (),
) -> None:
    """Train a scenario and write its checkpoints and history. A baseline is fitted, from the start each time.

    Args:
        split, statistics: split table, and statistics of the training split.
        outputs: files to write, all at the end.
        resume: folder for the state after each epoch; a start with the same plan and data goes on from there, a
            different one starts anew. It is removed when the training has finished. While a training in another
            process holds it, this one waits.
        callbacks: further callbacks of Lightning's trainer, which see ``val_macro_f1``; picklable for several devices.

    Raises:
        DataError: if the loss stops being finite, or the file of pretrained parameters is not the encoder's.
        ConfigError: if the model cannot be built from its settings, or the patches cannot be resident as the plan asks.
        DeviceError: if one of several devices' processes ended before its time.
        MemoryShortage: if a batch is too large for the memory.
        StorageError: if the disk is full or cannot be written; the state after the last epoch is kept.
        StepStopped: on SIGTERM or SIGINT.
    """
    what, count = described(plan, store, split, statistics), plan.nodes * plan.devices
    if plan.recipe.paste and count > 1:
        raise ConfigError(
            f"recipes.{plan.scenario.recipe}.paste: {plan.recipe.paste:g} joins patches of a batch, of which each of "
            f"{count} devices holds a part; expected one device: --set-resources train:gpu=1, or paste: 0"
        )
    try:
        with stoppable(), _alone(resume):
            job = (plan, split, statistics, outputs, resume, _resume_state(resume, what), callbacks)
            if plan.scenario.recipe == BASELINE:
                _write(outputs, baseline.fit(plan, store, split, statistics, resume), store, split)
            elif count > 1:
                where = f" of {plan.nodes} nodes" if plan.nodes > 1 else ""
                log.info("training on %d devices%s, which share each batch", count, where)
                arrays = [array.filename for array in (store.images, store.masks)]  # type: ignore[union-attr]
                distributed.launch(_fit_share, plan.nodes, plan.devices, resume, arrays, store.header, job)
            else:
                _fit(ONLY_PROCESS, store, *job)
            ignore_signals()
            shutil.rmtree(resume)
    except StopSignal as stop:
        where = "begins anew" if plan.scenario.recipe == BASELINE else "goes on from the last finished epoch"
        raise StepStopped(f"stopped by {stop}; the next start {where}") from None


def described(plan: Plan, store: Store, split: Path, statistics: Path) -> str:
    """Return all that decides a training's result as text; arguments as in :func:`train`."""
    text = f"{plan}\n{store.header}\n{split.read_text(encoding='utf-8')}\n{statistics.read_text(encoding='utf-8')}"
    text += f"\n{json.dumps(plan.dataset.without_looks(), sort_keys=True)}"
    return "\n".join([text, *(f"{content(Path(source.file)).sha256} {source[1:]}" for source in plan.pretrained)])


@contextmanager
def _alone(resume: Path) -> Iterator[None]:
    """Hold the scenario's lock: a training that outlived its killed workflow is waited for, never joined."""
    resume.parent.mkdir(parents=True, exist_ok=True)
    with resume.with_name(f"{resume.name}.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning("another training of this scenario is running and holds %s; waiting for its end", handle.name)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _fit_share(share: Share, arrays: list[Path], header: Header, job: tuple[Any, ...]) -> None:
    images, masks = map(open_array, arrays)
    _fit(share, Store(images, masks, header), *job)


def _fit(
    share: Share,
    store: Store,
    plan: Plan,
    split: Path,
    statistics: Path,
    outputs: Outputs,
    resume: Path,
    state: Path | None,
    callbacks: Sequence[L.Callback],
) -> None:
    with explain_out_of_memory(fewer_at_once(plan)):
        module, trained, validated = prepare(store, plan, split, statistics, share)
        if share.rank == 0:
            # With Adam's moments and the best parameters.
            need_room(resume, 4 * sum(p.nbytes for p in module.segmenter.parameters()), "the state of a training")
        record = EpochRecord(plan, module.blueprint, resume)
        guard = NanGuard(plan, module.order, split, trained.patches.rows, resume)
        trainer = build_trainer(plan, resume, [guard, record, *callbacks], share)
        trainer.fit(module, trained, validated, ckpt_path=state, weights_only=True)
    if not record.finished:
        raise DataError(f"training stopped after epoch {len(record.history)}; start it again to go on from there")
    if not np.isfinite(record.history[record.best_epoch - 1]["val_loss"]):
        raise DataError(
            f"the validation loss was finite in none of {len(record.history)} epochs, so no checkpoint is written; "
            "expected numbers: look for extreme pixel values in the validation patches, or lower the learning rate"
        )
    if share.rank == 0:
        _write(outputs, record, store, split)


def prepare(
    store: Store, plan: Plan, split: Path, statistics: Path, share: Share = ONLY_PROCESS
) -> tuple[TrainingModule, Streamed, Streamed]:
    """Return the module of a plan on its device, with its training and validation batches; arguments as in `train`."""
    torch.set_num_threads(max(1, plan.threads // plan.devices))
    L.seed_everything(plan.scenario.seed, verbose=False)
    data, level = plan.dataset, plan.scenario.level
    layers = [level, *[data.levels[level].edges] * plan.scenario.edges, *plan.coarser]
    crop = plan.recipe.crop
    train, validation = (
        PackedPatches(store, rows_of(split, part, store.header.ids), data.bands(plan.scenario.modality), masks, crop)
        for part, masks in (("train", layers), ("validation", [store.truth(layer) for layer in layers]))
    )
    # Batch norm behind global pooling, or of the last pixel of a crop, needs two; over GPUs, an idle process's patch
    # would enter its statistics.
    smallest = 1 if plan.scenario.model in AXES["model"] and not crop else 2
    smallest = max(smallest, share.count) if torch.cuda.is_available() else smallest
    order = _order(plan, store, train, smallest)
    module = TrainingModule(plan, json.loads(statistics.read_text()), order, share)
    trained, validated = loaders(
        [(train, order), (validation, batches(np.arange(len(validation)), plan.batch_size))],
        plan.loading,
        device(),
        module.to(device()).segmenter.normalise,
        dtype=torch.bfloat16 if mixed(plan) else torch.float32,  # what the first layer computes with
        readers=max(1, plan.threads // plan.devices - 1),
        held=share.held,
    )
    return module, trained, validated


def _order(plan: Plan, store: Store, train: PackedPatches, smallest: int) -> EpochBatches:
    """Return what the batches of an epoch hold, as recipe and weighting say."""
    scenario, recipe = plan.scenario, plan.recipe
    classes, pixels = len(plan.dataset.classes(scenario.level)), None
    if recipe.balance != 1:
        pixels = find_pixels(train.masks[0], train.rows, classes, recipe.balance, scenario.seed)
    return EpochBatches(
        len(train),
        plan.batch // plan.accumulate,
        scenario.seed,
        draw_shares(scenario.weighting, store, train.rows, scenario.level, classes),
        smallest,
        draws=plan.epoch_steps * plan.batch,
        crop=(store.size, recipe.crop) if recipe.crop else None,
        pixels=pixels,
    )


def _resume_state(resume: Path, described: str) -> Path | None:
    """The state to go on from, if it belongs to this very plan and data; else clear the folder."""
    note, state = resume / "plan.txt", resume / "last.ckpt"
    if note.exists() and note.read_text(encoding="utf-8") == described:
        if not state.exists():
            return None
        for file in (state, resume / "best.pt"):
            if file.exists() and (fault := checkpoint.integrity_error(file)):
                raise DataError(
                    f"{file}, which the training would go on from, is damaged: {fault}; expected the file as it was "
                    f"written: put a copy of it back, or remove the folder {resume} to train from the start"
                )
        log.info("going on from the state in %s", resume)
        return state
    if resume.exists():
        log.info("the state in %s is of another plan or other data; starting anew", resume)
        shutil.rmtree(resume)
    with atomic_write(note) as temporary:
        temporary.write_text(described, encoding="utf-8")
    return None


def _write(outputs: Outputs, record: EpochRecord, store: Store, split: Path) -> None:
    history = pd.DataFrame(record.history)
    history["selected"] = history["epoch"] == record.best_epoch
    with atomic_write(outputs.history) as temporary:
        history.to_csv(temporary, index=False, float_format="%.6g")
    segmenter, blueprint, training = checkpoint.load(record.resume / "best.pt")
    rows, kept = rows_of(split, "validation", store.header.ids), segmenter.net.state_dict()
    own_classes = record.plan.scenario.recipe != "paper"  # whose classes are the published training's
    save_calibrated(outputs.best, blueprint, kept, training, store, rows, vector=own_classes)
    record.save(outputs.last)
    best = record.history[record.best_epoch - 1]
    log.info(
        "best epoch %d of %d: validation macro F1 %.2f %%", best["epoch"], len(history), 100 * best["val_macro_f1"]
    )
