"""A callback that keeps a training's history, chooses its best epoch and writes the state after each epoch."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from torch import Tensor

from cerraseg.core.errors import DataError
from cerraseg.core.logs import log
from cerraseg.models import checkpoint
from cerraseg.training.module import TrainingModule
from cerraseg.training.plan import Plan

_NET = "segmenter.net."  # where a module's state has the network's parameters


class EpochRecord(L.Callback):
    """History and state of a training, written to ``resume``."""

    def __init__(self, plan: Plan, blueprint: checkpoint.Blueprint, resume: Path) -> None:
        self.plan, self.blueprint, self.resume = plan, blueprint, resume
        self.history: list[dict[str, float]] = []  # rows of TrainingModule.epoch_row
        self.parameters: dict[str, Tensor] = {}  # of the network after the last epoch, averaged if the recipe says so

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.strategy.broadcast(len(self.history)) != len(self.history):
            raise DataError("this node still sees the state of an earlier epoch; start the training again")
        if self.history and self.best_epoch == len(self.history):
            self._save_best(trainer)  # a kill may have come between the two files of that epoch
        trainer.should_stop = self.finished

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.started = time.monotonic()

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        assert isinstance(module, TrainingModule)
        row = trainer.strategy.broadcast(module.epoch_row())
        if not np.isfinite(row["val_loss"]):
            log.warning(
                "epoch %d: the validation loss is %s; such an epoch is never chosen", row["epoch"], row["val_loss"]
            )
        self.history.append(row)
        better = self.best_epoch == row["epoch"]
        if not better and self.plan.recipe.rollback:
            module.segmenter.net.load_state_dict(self._load_best(trainer))
        trainer.save_checkpoint(self.resume / "last.ckpt", weights_only=False)
        if better:
            self._save_best(trainer)
        self._log(row)
        trainer.should_stop |= self.finished

    def on_save_checkpoint(self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = self.history
        self._note_parameters(checkpoint["state_dict"])

    def on_load_checkpoint(self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        self.history = checkpoint["history"]
        self._note_parameters(checkpoint["state_dict"])

    def _note_parameters(self, state: Mapping[str, Tensor]) -> None:
        """Note what Lightning's averaging, a callback before this one, has put in place of the live parameters."""
        self.parameters = {key.removeprefix(_NET): value for key, value in state.items() if key.startswith(_NET)}

    @property
    def best_epoch(self) -> int:
        """The first epoch (from 1) with the best ``select_on``; where possible one with a finite validation loss."""
        key = self.plan.recipe.select_on
        usable = [row for row in self.history if np.isfinite([row["val_loss"], row[key]]).all()] or self.history
        best = (min if key.endswith("loss") else max)(usable, key=lambda row: row[key])
        return int(best["epoch"])

    @property
    def finished(self) -> bool:
        """Whether all epochs are done or patience has run out."""
        done = len(self.history)
        impatient = done > 0 and done - self.best_epoch >= self.plan.recipe.patience
        return done >= self.plan.epochs or impatient

    def save(self, path: Path) -> None:
        """Write the parameters after the last epoch as a checkpoint."""
        training = {"scenario": self.plan.scenario.id, **self.history[-1]}
        checkpoint.save(path, self.blueprint, self.parameters, training)

    def _save_best(self, trainer: L.Trainer) -> None:
        if trainer.is_global_zero:
            self.save(self.resume / "best.pt")

    def _load_best(self, trainer: L.Trainer) -> Any:
        """Read the best parameters in the first process: another node may see an old file for a while."""
        path, first = self.resume / "best.pt", trainer.is_global_zero
        best = torch.load(path, map_location="cpu", weights_only=True)["parameters"] if first else None
        return trainer.strategy.broadcast(best)

    def _log(self, row: Mapping[str, float]) -> None:
        seconds = time.monotonic() - self.started
        log.info(
            "epoch %d/%d: loss %.4f, validation loss %.4f, macro F1 %.2f %%; %.0f s, at most %.1f min left",
            row["epoch"], self.plan.epochs, row["train_loss"], row["val_loss"], 100 * row["val_macro_f1"],
            seconds, seconds * (self.plan.epochs - row["epoch"]) / 60,
        )  # fmt: skip
