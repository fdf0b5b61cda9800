"""Lightning's trainer as every training here runs it: one device, whole files, no files of its own."""

import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.plugins import TorchCheckpointIO
from lightning.pytorch.plugins.environments import LightningEnvironment  # type: ignore[attr-defined]

from cerraseg.core.errors import DataError
from cerraseg.core.logs import ProgressLog
from cerraseg.models.checkpoint import atomic_save
from cerraseg.training.determinism import FLAGS
from cerraseg.training.distributed.sync import Team
from cerraseg.training.plan import Plan


def device() -> torch.device:
    """This process's GPU where there is one, else the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def mixed(plan: Plan) -> bool:
    """Whether a plan's forward pass computes in bfloat16 here."""
    return plan.recipe.mixed_precision and torch.cuda.is_available()


class _WholeFiles(TorchCheckpointIO):
    """Lightning's own way goes through another folder, from where a move to another disk is a copy that may be cut.

    What it reads, an environment variable decides whether code in it is run; here, nothing but tensors and plain values
    is ever unpickled.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        atomic_save(path, checkpoint)

    def load_checkpoint(self, path: str | Path, *_: Any, **__: Any) -> dict[str, Any]:
        try:
            return dict(torch.load(path, map_location="cpu", weights_only=True))
        except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
            raise DataError(
                f"{path}: not the state of a training that CerraSeg wrote ({type(error).__name__}); remove the folder "
                f"{Path(path).parent} to train from the start"
            ) from None


class _Teller(L.Callback):
    """What the bar shows on a terminal, for the log: an epoch of a large training takes long."""

    def on_train_epoch_start(self, trainer: L.Trainer, *_: Any) -> None:
        self.progress_log = ProgressLog(f"epoch {trainer.current_epoch + 1}, batch", int(trainer.num_training_batches))

    def on_train_batch_start(self, trainer: L.Trainer, loop: Any, batch: Any, index: int) -> None:
        self.progress_log.update(index)

    def on_validation_epoch_start(self, trainer: L.Trainer, *_: Any) -> None:
        what = f"validation of epoch {trainer.current_epoch + 1}, batch"
        self.progress_log = ProgressLog(what, int(trainer.num_val_batches[0]))

    def on_validation_batch_start(self, trainer: L.Trainer, loop: Any, batch: Any, index: int, *_: Any) -> None:
        self.progress_log.update(index)


def build_trainer(plan: Plan, folder: Path, team: Team, callbacks: Sequence[L.Callback] = ()) -> L.Trainer:
    """A trainer of one device: of what is shared, the loop knows, and what SLURM's variables say matters to none."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    harmless = "does not have many workers", "LeafSpec", "`srun` command", "hooks will not be called on every batch"
    warnings.filterwarnings("ignore", "|".join(f".*{text}.*" for text in harmless))
    # Else each new tensor is filled before it is written, 6 % of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    bar = sys.stderr.isatty()
    telling: list[L.Callback] = [TQDMProgressBar() if bar else _Teller()] if team.rank == 0 else []
    return L.Trainer(
        max_epochs=plan.epochs,
        accelerator=device().type,
        devices=[torch.cuda.current_device()] if torch.cuda.is_available() else 1,
        plugins=[LightningEnvironment(), _WholeFiles()],
        precision="bf16-mixed" if mixed(plan) else "32-true",
        accumulate_grad_batches=plan.accumulate,
        **FLAGS[plan.determinism],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[*telling, *callbacks],
        enable_progress_bar=bar and bool(telling),
        default_root_dir=folder,
    )
