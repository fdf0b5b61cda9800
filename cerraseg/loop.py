"""The training loop of a scenario: its recipe as Lightning hooks."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics.classification import MulticlassConfusionMatrix

from cerraseg import checkpoint, losses
from cerraseg.checkpoint import Blueprint, Segmenter
from cerraseg.dataset import augment
from cerraseg.errors import DataError
from cerraseg.logs import log
from cerraseg.metrics import scores
from cerraseg.recipes import RECIPES
from cerraseg.scenario import Scenario
from cerraseg.taxonomy import IGNORE, LEVELS, MODALITIES


@dataclass(frozen=True)
class Plan:
    """What to train and how long.

    Attributes:
        scenario: model, modality, weighting, level, recipe and seed.
        settings: the model's own settings.
        epochs: most epochs.
        batch_size: patches a step.
        threads: on a CPU, torch's threads; with a GPU, all but one read batches ahead.
        code: digest of the code, so that a resumed training never mixes two versions.
    """

    scenario: Scenario
    settings: Mapping[str, Any]
    epochs: int
    batch_size: int
    threads: int = field(default=1, repr=False)  # not part of what a resumed training must agree with
    code: str = ""


class Loop(L.LightningModule):
    """The recipe as Lightning hooks. Everything random in a step follows from the seed, the epoch and the step."""

    def __init__(self, plan: Plan, statistics: Mapping[str, Any], resume: Path) -> None:
        super().__init__()
        scenario, self.plan, self.resume = plan.scenario, plan, resume
        self.recipe, self.steps = RECIPES[scenario.recipe], 1
        self.blueprint = _blueprint(plan, statistics)
        self.segmenter = Segmenter(self.blueprint).to(memory_format=torch.channels_last)
        class_weights = statistics["levels"][scenario.level]["class_weights"]
        self.register_buffer("class_weights", torch.tensor(class_weights) if scenario.weighting == "w" else None)
        self.confusion = MulticlassConfusionMatrix(len(LEVELS[scenario.level]), ignore_index=IGNORE)
        self.losses = {"train": (0.0, 0.0), "val": (0.0, 0.0)}
        self.history: list[dict[str, float]] = []

    def configure_optimizers(self) -> Any:
        recipe = self.recipe
        if recipe.optimizer == "adam":
            optimizer: torch.optim.Optimizer = torch.optim.Adam(self.parameters(), recipe.learning_rate)
        else:
            optimizer = torch.optim.AdamW(self.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
        shape = _warmup_cosine(self.steps) if recipe.schedule == "cosine" else lambda step: 1.0
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, shape), "interval": "step"}}

    def loss(self, logits: Tensor, masks: Tensor, part: str) -> Tensor:
        """Loss of a batch, also added to the epoch's mean."""
        fed = logits.softmax(1) if self.recipe.softmax_in_loss else logits
        loss = losses.cross_entropy(fed, masks, self.class_weights)  # type: ignore[arg-type]
        if self.recipe.dice:
            loss = loss + losses.dice(logits, masks)
        amount = 1.0 if self.recipe.batch_mean_loss else float((masks != IGNORE).sum())
        total, seen = self.losses[part]
        self.losses[part] = (total + amount * float(loss.detach()), seen + amount)
        return loss

    def on_train_start(self) -> None:
        self.trainer.should_stop = self.finished

    def on_train_epoch_start(self) -> None:
        self.losses = {"train": (0.0, 0.0), "val": (0.0, 0.0)}
        self.started = time.monotonic()

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        place = (self.plan.scenario.seed, self.current_epoch, index)
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))
        images, masks = augment(*batch) if self.recipe.augment else batch
        return self.loss(self.segmenter(images), masks, "train")

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        logits = self.segmenter(batch[0])
        self.loss(logits, batch[1], "val")
        self.confusion.update(logits.argmax(1), batch[1])

    def on_train_epoch_end(self) -> None:
        row = self._row()
        if not np.isfinite(row["train_loss"]):
            raise DataError(
                f"epoch {row['epoch']}: the training loss is {row['train_loss']}; lower the learning rate of "
                f"recipe {self.plan.scenario.recipe}, or look for extreme pixel values in the statistics"
            )
        self.history.append(row)
        if self.best_epoch == row["epoch"]:
            self.save(self.resume / "best.pt")
        elif self.recipe.rollback:
            best = torch.load(self.resume / "best.pt", map_location=self.device, weights_only=True)
            self.segmenter.net.load_state_dict(best["parameters"])
        self.trainer.save_checkpoint(self.resume / "last.ckpt")
        self._report(row)
        self.trainer.should_stop = self.finished

    def _row(self) -> dict[str, float]:
        measured = scores(self.confusion.compute().cpu().numpy().astype(np.int64))
        self.confusion.reset()
        means = {part: total / max(seen, 1e-12) for part, (total, seen) in self.losses.items()}
        return {
            "epoch": self.current_epoch + 1,
            "train_loss": means["train"],
            "val_loss": means["val"],
            "val_macro_f1": float(measured.macro_f1),
            "val_miou": float(measured.miou),
            "learning_rate": float(self.optimizers().param_groups[0]["lr"]),  # type: ignore[union-attr]
        }

    @property
    def best_epoch(self) -> int:
        """The epoch (from 1) with the best value of the recipe's ``select_on``, the earliest of equals."""
        key = self.recipe.select_on
        sign = -1 if key.endswith("loss") else 1
        return int(max(self.history, key=lambda row: (sign * row[key], -row["epoch"]))["epoch"])

    @property
    def finished(self) -> bool:
        """Whether all epochs are done or patience has run out."""
        done = len(self.history)
        return done >= self.plan.epochs or (done > 0 and done - self.best_epoch >= self.recipe.patience)

    def save(self, path: Path) -> None:
        """Write the present parameters as a checkpoint."""
        row = self.history[-1]
        training = {"scenario": self.plan.scenario.id, **row}
        checkpoint.save(path, self.blueprint, self.segmenter.net.state_dict(), training)

    def _report(self, row: Mapping[str, float]) -> None:
        seconds = time.monotonic() - self.started
        log.info(
            "epoch %d/%d: loss %.4f, validation loss %.4f, macro F1 %.2f %%; %.0f s, at most %.1f min left",
            row["epoch"], self.plan.epochs, row["train_loss"], row["val_loss"], 100 * row["val_macro_f1"],
            seconds, seconds * (self.plan.epochs - row["epoch"]) / 60,
        )  # fmt: skip

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = checkpoint["history"]


def _blueprint(plan: Plan, statistics: Mapping[str, Any]) -> Blueprint:
    scenario = plan.scenario
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    if RECIPES[scenario.recipe].zscore:
        bands = [statistics["bands"][band] for band in MODALITIES[scenario.modality]]
        mean = tuple(band["mean"] for band in bands)
        std = tuple(band["std"] or 1.0 for band in bands)
    return Blueprint(scenario.model, dict(sorted(plan.settings.items())), scenario.modality, scenario.level, mean, std)


def _warmup_cosine(steps: int) -> Callable[[int], float]:
    """Factor of the learning rate by step: linear over the first tenth, then half a cosine to zero."""
    warmup = max(1, steps // 10)
    return lambda step: min(
        (step + 1) / warmup, 0.5 + 0.5 * math.cos(math.pi * max(0, step - warmup) / (steps - warmup or 1))
    )
