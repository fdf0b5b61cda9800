"""Lightning's trainer as every training here uses it: DDP over several devices, atomic files, deterministic forms."""

import logging
import sys
import warnings
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import TQDMProgressBar, WeightAveraging
from lightning.pytorch.plugins import TorchCheckpointIO
from lightning.pytorch.plugins.environments import (  # type: ignore[attr-defined]
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor

from cerraseg.core.logs import ProgressLog
from cerraseg.models.checkpoint import atomic_save
from cerraseg.models.inference import device
from cerraseg.training.distributed import ONLY_PROCESS, Share
from cerraseg.training.plan import Determinism, Plan

_PATIENCE = timedelta(minutes=10)  # for a process that hangs; one that ended is noticed at once

_DETERMINISM: dict[Determinism, dict[str, Any]] = {
    "off": {"deterministic": False, "benchmark": True},
    "warn": {"deterministic": "warn", "benchmark": False},
    "strict": {"deterministic": True, "benchmark": False},
}
"""Arguments of the trainer; unless off, it sets CUBLAS_WORKSPACE_CONFIG before the first product."""


def mixed(plan: Plan) -> bool:
    """Return whether a plan's forward pass computes in bfloat16 here."""
    return plan.recipe.mixed_precision and torch.cuda.is_available()


class _AtomicCheckpoints(TorchCheckpointIO):
    """Write each file under its name when it is whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        atomic_save(path, checkpoint)


class _EpochProgress(L.Callback):
    """Log once a minute how far an epoch is, as the bar shows on a terminal."""

    def on_train_epoch_start(self, trainer: L.Trainer, *_: Any) -> None:
        self.progress_log = ProgressLog(f"epoch {trainer.current_epoch + 1}, batch", int(trainer.num_training_batches))

    def on_train_batch_start(self, trainer: L.Trainer, module: Any, batch: Any, index: int) -> None:
        self.progress_log.update(index)


def averaging(decay: float) -> L.Callback:
    """Return Lightning's exponential moving average of parameters and buffers, which is validated and kept.

    A. Tarvainen & H. Valpola 2017, NeurIPS. ``decay``, from 0 to 1, stays of the mean at each step; after n steps at
    most (1 + n) / (10 + n), which forgets the start.
    """

    def average(mean: Tensor, present: Tensor, steps: Tensor) -> Tensor:
        if not mean.is_floating_point():
            return present
        return mean + (present - mean) * (1 - ((1 + steps) / (10 + steps)).clamp(max=decay))

    return WeightAveraging(avg_fn=average)


def build_trainer(
    plan: Plan, folder: Path, callbacks: Sequence[L.Callback] = (), share: Share = ONLY_PROCESS
) -> L.Trainer:
    """Return a trainer for this process, which writes to ``folder`` and calls ``callbacks`` after its own."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    harmless = ("does not have many workers", "LeafSpec", "`srun` command", "hooks will not be called on every batch",
                "sync_dist=True", "no `val_dataloader`")  # fmt: skip
    warnings.filterwarnings("ignore", "|".join(f".*{text}.*" for text in harmless))
    # Else each new tensor is filled before it is written, 6 % of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.allow_tf32 = plan.recipe.tf32
    bar, first = sys.stderr.isatty(), share.rank == 0
    own: list[L.Callback] = [TQDMProgressBar() if bar else _EpochProgress()] if first else []
    if plan.recipe.ema:
        own.append(averaging(plan.recipe.ema))
    return L.Trainer(
        max_epochs=plan.epochs,
        accelerator=device().type,
        **_devices(plan, share),
        precision="bf16-mixed" if mixed(plan) else "32-true",
        accumulate_grad_batches=plan.accumulate,
        **_DETERMINISM[plan.determinism],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[*own, *callbacks],
        enable_progress_bar=bar and first,
        default_root_dir=folder,
    )


def _devices(plan: Plan, share: Share) -> dict[str, Any]:
    if share.count == 1:
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else 1
        return {"devices": devices, "plugins": [LightningEnvironment(), _AtomicCheckpoints()]}
    environment = SLURMEnvironment(auto_requeue=False) if plan.nodes > 1 else TorchElasticEnvironment()
    return {
        "devices": plan.devices,
        "num_nodes": plan.nodes,
        # Some encoders have parameters that the decoder does not use.
        "strategy": DDPStrategy(find_unused_parameters=True, timeout=_PATIENCE),
        "use_distributed_sampler": False,
        "plugins": [environment, _AtomicCheckpoints()],
    }
