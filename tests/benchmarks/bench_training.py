"""Training on the device at hand, against the published loop and the bare model step.

Usage: bench_training.py [--steps N] [--patches N] [--small]
Ours is the training step as a run makes it (Lightning, our loader, loss, optimiser), from its third step to its last.

- published: float32, batch 32, a torch DataLoader that opens four GeoTIFF files a patch, Adam, the loss fetched at
  every step; 16 workers beside a GPU, else 2.
- bare: forward, loss, backward and optimiser on one batch that lies on the device. What our step takes longer is ours.

Without a GPU it times a few small batches on the CPU, and the rows of a GPU say so.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch as L
import numpy as np
import torch
from bench_loader import geotiff_batches
from inputs import CERRADATA, MODELS, SMALL, open_packed, write_packed
from measuring import arguments, measured, not_measured, row
from torch.nn import functional as F

from cerraseg.config.recipes import RECIPES
from cerraseg.config.scenario import known_names, parse
from cerraseg.models.factory import build
from cerraseg.training.batches import PackedPatches, loaders
from cerraseg.training.module import TrainingModule
from cerraseg.training.order import EpochBatches
from cerraseg.training.plan import Plan
from cerraseg.training.trainer import build_trainer, mixed

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
REACH = {"unet": "≥ 15", "transnuseg": "≥ 8"}
"""Model → how many times as fast as the published loop a training on a GPU shall be."""


@dataclass(frozen=True)
class Job:
    """What is timed: a model, patches of a batch, steps, and whether the smallest model stands for it."""

    model: str
    batch: int
    steps: int
    small: bool

    @property
    def settings(self) -> dict:
        return SMALL[self.model] if self.small else {}

    @property
    def threads(self) -> int:
        return 8 if DEVICE.type == "cuda" else 2


def assemble(job: Job, folder: Path):
    """The trainer, the module and the batches, as ``training.train`` puts them together."""
    scenario = parse(f"{job.model}-concat-nw-l1-tuned-1", known_names(CERRADATA))
    recipe = RECIPES["tuned"][job.model]
    plan = Plan(scenario, recipe, job.settings, CERRADATA, 1, job.batch, threads=job.threads, loading="auto")
    torch.set_num_threads(job.threads)
    store = open_packed(folder)
    rows = np.resize(np.arange(store.header.patches), job.steps * job.batch)
    layers = ["l1", *(["edge_l1"] if scenario.edges else [])]
    order = EpochBatches(len(rows), job.batch, 1)
    bands = {band: {"mean": 1000.0, "std": 500.0, "min": 0.0, "max": 9000.0} for band in CERRADATA.bands()}
    statistics = {"bands": bands, "levels": {"l1": {"class_weights": [1.0] * 7}}}
    module = TrainingModule(plan, statistics, order).to(DEVICE)
    parts = [
        (PackedPatches(store, rows, CERRADATA.bands(), layers), order),
        (PackedPatches(store, rows[:1], CERRADATA.bands(), layers), []),
    ]
    how = {"dtype": torch.bfloat16 if mixed(plan) else torch.float32, "readers": max(1, job.threads - 1), "held": slice}
    train, _ = loaders(parts, plan.loading, DEVICE, module.segmenter.normalise, **how)
    return build_trainer(plan, folder), module, train


class Clock(L.Callback):
    """The time at which each step of a training ended, but the first's."""

    def __init__(self, steps: int) -> None:
        self.steps, self.stamps = steps, []

    def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
        if 1 <= index < self.steps:
            self.stamps.append(now(wait=index in (1, self.steps - 1)))
            trainer.should_stop = index == self.steps - 1


def ours(job: Job, folder: Path):
    """Seconds a step of a training."""
    trainer, module, train = assemble(job, folder)
    trainer.callbacks.append(clock := Clock(job.steps))
    trainer.limit_val_batches = 0
    return lambda: trainer.fit(module, train) or step_time(clock.stamps)


def bare(job: Job, folder: Path):
    """Seconds a step of the model alone: the same logits, loss and optimiser on one batch."""
    trainer, module, train = assemble(job, folder)
    images, masks = (part.clone() for part in next(iter(train)))
    masks, module.losses = masks.long(), {}
    optimizer = module.configure_optimizers()["optimizer"]
    module.train()

    def steps() -> float:
        stamps = []
        for step in range(job.steps):
            with torch.autocast("cuda", torch.bfloat16, enabled=trainer.precision == "bf16-mixed"):
                loss = module.loss(module.logits(images), masks, "train")
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            stamps.append(now(wait=step in (1, job.steps - 1)))
        return step_time(stamps[1:])

    return steps


def published(job: Job, folder: Path):
    """Seconds a step of the published loop."""
    torch.set_num_threads(job.threads)
    channels = [len(sensor.bands) for sensor in CERRADATA.sensors.values()]
    model = build(job.model, channels, 7, job.settings, CERRADATA.patch_size).to(DEVICE)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    workers = 16 if DEVICE.type == "cuda" else 2

    def steps() -> float:
        stamps = []
        for images, masks in geotiff_batches(folder, job.steps * job.batch, job.batch, workers):
            logits, masks = model(images.to(DEVICE)), masks.to(DEVICE)
            pairs = zip(logits, masks.unbind(1), strict=False) if isinstance(logits, tuple) else [(logits, masks[:, 0])]
            loss = sum(F.cross_entropy(task.softmax(1), mask) for task, mask in pairs)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
            stamps.append(now())
        return step_time(stamps[1:])

    return steps


def now(wait: bool = True) -> float:
    """A clock that has waited for the device."""
    if wait and DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def step_time(stamps: list[float]) -> float:
    """Seconds a step: the mean on a GPU, which computes while the next step is prepared, else the median."""
    each = np.diff(stamps)
    return float(each.mean() if DEVICE.type == "cuda" else np.median(each))


def compare(folder: Path, job: Job, where: str, reach: str) -> None:
    """Print the rows of one model at one batch size."""
    of_peer = Job(job.model, min(32, job.batch), job.steps, job.small)
    mine, step, peer = (
        each.batch / measured(method, each, folder).value
        for method, each in ((ours, job), (bare, job), (published, of_peer))
    )
    name = f"small {job.model}" if job.small else MODELS[job.model]
    what, shown = f"training, {name}, batch {job.batch}, {where}", f"{mine:,.4g} patches/s"
    row(what, shown, f"published loop, batch {of_peer.batch}: {peer:,.4g} patches/s", mine / peer, reach)
    beside = f"bare model step: {step:,.4g} patches/s"
    row(f"{what}: share of the step beside the model's", shown, beside, 1 - mine / step, "≤ 0.05")


def jobs(steps: int, small: bool) -> Iterator[tuple[Job, str, str]]:
    """What is timed on the device at hand, where, and what it is to reach."""
    if DEVICE.type == "cuda":
        where = torch.cuda.get_device_name()
        for model, reach in REACH.items():
            for batch in (32, 256):
                yield Job(model, batch, steps, small), where, reach
    else:
        for model in REACH:
            yield Job(model, 4 if small else 8, steps, small), "2 CPU threads", ""


def main() -> None:
    options = arguments(__doc__, steps=12, patches=512, small=False)
    with tempfile.TemporaryDirectory() as name:
        write_packed(Path(name), options.patches)
        for job, where, reach in jobs(options.steps, options.small):
            compare(Path(name), job, where, reach)
    if DEVICE.type == "cpu":
        for model, reach in REACH.items():
            not_measured(f"training, {MODELS[model]}, batch 32 and 256, on a GPU", "no GPU", reach)


if __name__ == "__main__":
    main()
