"""The training loop of a scenario: its recipe as Lightning hooks."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from cerraseg.core.errors import DataError
from cerraseg.core.logs import log
from cerraseg.core.signals import raise_pending_signal
from cerraseg.core.taxonomy import IGNORE, LEVELS, MODALITIES
from cerraseg.evaluation.metrics import Scores, compute_scores, confusion_matrix
from cerraseg.models import checkpoint, inference, pretrained
from cerraseg.models.checkpoint import Segmenter, make_blueprint
from cerraseg.training import losses
from cerraseg.training.augmentation import augment
from cerraseg.training.batches import EpochBatches
from cerraseg.training.distributed.sync import Team
from cerraseg.training.ema import follow
from cerraseg.training.nan_guard import LOOK_EVERY, FirstBad, Names, lost, numbered
from cerraseg.training.plan import Plan
from cerraseg.training.weightings import UNWEIGHTED, WEIGHTINGS

_LOSS = "the training loss"


class Loop(L.LightningModule):
    """The recipe as Lightning hooks. Everything random in a step follows from the seed, the epoch and the step."""

    def __init__(
        self,
        plan: Plan,
        statistics: Mapping[str, Any],
        order: EpochBatches,
        resume: Path,
        team: Team,
        names: Names = numbered,
    ) -> None:
        super().__init__()
        self.names = names
        scenario, self.plan, self.order, self.resume, self.team = plan.scenario, plan, order, resume, team
        self.recipe = plan.recipe
        self.blueprint = make_blueprint(scenario, plan.recipe, plan.settings, statistics)
        self.segmenter = Segmenter(self.blueprint).to(memory_format=torch.channels_last)
        if plan.pretrained:
            pretrained.load_encoder(self.segmenter.net, MODALITIES[scenario.modality], plan.pretrained)
        self.averaged = deepcopy(self.segmenter).requires_grad_(False) if self.recipe.ema else None
        team.join(self.segmenter)
        if plan.compile:
            self.segmenter.net.compile()
        balance, levels = WEIGHTINGS[scenario.weighting].balance, statistics["levels"]
        of_l1 = balance(levels["l1"]) if plan.recipe.hierarchical else UNWEIGHTED
        self.semantic = losses.SemanticLoss(plan.recipe, balance(levels[scenario.level]), of_l1)
        self.edge = losses.TaskLoss(plan.recipe)
        self.history: list[dict[str, float]] = []

    def configure_optimizers(self) -> Any:
        recipe, parameters = self.recipe, self.segmenter.parameters()
        if recipe.optimizer == "adam":
            optimizer: torch.optim.Optimizer = torch.optim.Adam(parameters, recipe.learning_rate, fused=True)
        else:
            decay = recipe.weight_decay
            optimizer = torch.optim.AdamW(parameters, recipe.learning_rate, weight_decay=decay, fused=True)
        steps = self.plan.epochs * -(-len(self.order) // self.plan.accumulate)
        shape = _warmup_cosine(steps) if recipe.schedule == "cosine" else lambda step: 1.0
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, shape), "interval": "step"}}

    def loss(self, logits: Sequence[Tensor], masks: Tensor, part: str) -> Tensor:
        """Loss of a batch over all tasks, also added to the epoch's means."""
        semantic = self.semantic(logits[0], masks)
        loss: Tensor = self.recipe.semantic * semantic
        if len(logits) > 1:
            loss = loss + self.recipe.edge * self.edge(logits[1], masks[:, 1])
        amount = 1 if self.recipe.batch_mean_loss else (masks[:, 0] != IGNORE).sum()
        for name, value in ((f"{part}_loss", loss), (f"{part}_semantic_loss", semantic)):
            total, seen = self.losses.get(name, (0, 0))  # on the device, which nobody waits for before the epoch's end
            self.losses[name] = (total + amount * value.detach().double(), seen + amount)
        return loss

    def logits(self, images: Tensor, patches: int) -> list[Tensor]:
        """Logits of the whole batch of so many patches, a tensor a task; ``images`` are those that this rank holds."""
        raise_pending_signal()
        self.team.patches = patches
        return [self.team.whole(task) for task in (self.segmenter if self.training else self.kept).logits(images)]

    @property
    def kept(self) -> Segmenter:
        """The model that is validated and written."""
        return self.averaged or self.segmenter

    def on_train_start(self) -> None:
        if self.team.agree(len(self.history)) != len(self.history):
            raise DataError("this node still sees the state of an earlier epoch; start the training again")
        if self.history and self.best_epoch == len(self.history):
            self._save_best()  # a kill may have come between the two files of that epoch
        elif self.history and self.team.rank == 0 and not (self.resume / "best.pt").exists():
            raise DataError(
                f"{self.resume} has no best.pt, which holds epoch {self.best_epoch}, the best; expected it beside "
                f"last.ckpt: put a copy back, or remove the folder {self.resume} to train from the start"
            )
        self.trainer.should_stop = self.finished

    def on_train_epoch_start(self) -> None:
        self.order.set_epoch(self.current_epoch)
        self.losses: dict[str, tuple[Tensor | int, Tensor | int]] = {}
        self.predicted: list[list[Tensor]] = []
        self.bad = FirstBad(self.device)
        self.started = time.monotonic()

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        place = (self.plan.scenario.seed, self.current_epoch, index)
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))
        images, masks = augment(*batch, self.team.held(len(batch[1]))) if self.recipe.augment else batch
        loss = self.loss(self.logits(images, len(masks)), masks.long(), "train") * self._part(len(masks), index)
        self.bad.note(_LOSS, [loss.detach()], index)
        self.part = index
        return loss

    def _part(self, patches: int, index: int) -> float:
        """The share of these patches in their batch, times ``accumulate``, by which Lightning then divides."""
        parts, size = self.plan.accumulate, self.plan.batch_size
        return parts * patches / min(size, self.order.length - index // parts * size)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        self.team.add_gradients(self.segmenter.parameters())
        gradients = (p.grad for p in self.segmenter.parameters() if p.grad is not None)
        self.bad.note("a gradient", gradients, self.part)
        if self.global_step % LOOK_EVERY == 0:
            self._ensure_finite()

    def _ensure_finite(self) -> None:
        if not (bad := self.bad.look()):
            return
        parts, order, done = self.plan.accumulate, list(self.order), len(self.history)
        first = bad.part if bad.what == _LOSS else bad.part // parts * parts  # what its gradient came of
        kept = f"The state after epoch {done} is kept in {self.resume}." if done else "No epoch was finished before."
        raise lost(
            bad,
            self.current_epoch + 1,
            f"{bad.part // parts + 1} of {-(-len(order) // parts)}",
            self.names(np.concatenate(order[first : bad.part + 1])),
            self.plan.scenario.recipe,
            kept,
        )

    def on_validation_start(self) -> None:
        self.bad.note("a parameter", self.segmenter.parameters(), self.part)
        self._ensure_finite()

    def optimizer_step(self, *args: Any) -> None:
        super().optimizer_step(*args)
        if self.averaged:
            follow(self.averaged, self.segmenter, self.recipe.ema, self.global_step)

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        images, masks = batch
        logits = self.logits(images, len(masks))
        self.loss(logits, masks.long(), "val")
        best = [self._decided(logits[0]), *(task.argmax(1) == 1 for task in logits[1:])]
        self.predicted.append([masks.clone(), *(task.byte() for task in best)])  # counted at the epoch's end

    def _decided(self, logits: Tensor) -> Tensor:
        hierarchical = self.segmenter.hierarchical
        return inference.decide(inference.probabilities(logits), hierarchical)[0] if hierarchical else logits.argmax(1)

    def on_validation_epoch_end(self) -> None:
        self.measured = self._measured()
        self.log("val_macro_f1", self.measured[0].macro_f1)

    def on_train_epoch_end(self) -> None:
        row = self.team.agree(self._row())
        if not np.isfinite(row["val_loss"]):
            log.warning(
                "epoch %d: the validation loss is %s; such an epoch is never chosen", row["epoch"], row["val_loss"]
            )
        self.history.append(row)
        better = self.best_epoch == row["epoch"]
        if not better and self.recipe.rollback:
            self.segmenter.net.load_state_dict(self._best())
        if self.team.rank == 0:
            self.trainer.save_checkpoint(self.resume / "last.ckpt")
        if better:
            self._save_best()
        self._report(row)
        self.trainer.should_stop |= self.finished

    def _row(self) -> dict[str, float]:
        means = {name: float(total / max(seen, 1e-12)) for name, (total, seen) in self.losses.items()}
        edges = {"val_edge_f1": float(self.measured[1].f1[1])} if self.plan.scenario.edges else {}
        return {
            "epoch": self.current_epoch + 1,
            "train_loss": means["train_loss"],
            "val_loss": means["val_loss"],
            "val_semantic_loss": means["val_semantic_loss"],
            "val_macro_f1": self.measured[0].macro_f1,
            "val_miou": self.measured[0].miou,
            **edges,
            "learning_rate": float(self.optimizers().param_groups[0]["lr"]),  # type: ignore[union-attr]
        }

    def _measured(self) -> list[Scores]:
        """Validation scores of the classes and, where the model predicts them, of the edges."""
        masks, *tasks = (torch.cat(parts).cpu().numpy() for parts in zip(*self.predicted, strict=True))
        classes = (len(LEVELS[self.plan.scenario.level]), 2)
        return [compute_scores(confusion_matrix(masks[:, k], task, classes[k])) for k, task in enumerate(tasks)]

    @property
    def best_epoch(self) -> int:
        """The epoch (from 1) with the best value of the recipe's ``select_on``, the earliest of equals; one whose
        validation loss is not finite only where there is no other."""
        key = self.recipe.select_on
        sign = -1 if key.endswith("loss") else 1

        def merit(row: Mapping[str, float]) -> tuple[bool, float, float]:
            usable = bool(np.isfinite([row["val_loss"], row[key]]).all())
            return usable, sign * row[key] if usable else 0, -row["epoch"]

        return int(max(self.history, key=merit)["epoch"])

    def _best(self) -> Any:
        """The kept parameters, from the first rank: another node may see an old file for a while."""
        path = self.resume / "best.pt"
        first = self.team.rank == 0
        return self.team.agree(torch.load(path, map_location="cpu", weights_only=True)["parameters"] if first else None)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done or patience has run out."""
        done = len(self.history)
        impatient = done > 0 and done - self.best_epoch >= self.recipe.patience
        return done >= self.plan.epochs or impatient

    def save(self, path: Path) -> None:
        """Write the present parameters as a checkpoint."""
        row = self.history[-1]
        training = {"scenario": self.plan.scenario.id, **row}
        checkpoint.save(path, self.blueprint, self.kept.net.state_dict(), training)

    def _save_best(self) -> None:
        if self.team.rank == 0:
            self.save(self.resume / "best.pt")

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


def _warmup_cosine(steps: int) -> Callable[[int], float]:
    """Factor of the learning rate by step: linear over the first tenth, then half a cosine to zero."""
    warmup = max(1, steps // 10)
    return lambda step: min(
        (step + 1) / warmup, 0.5 + 0.5 * math.cos(math.pi * max(0, step - warmup) / (steps - warmup or 1))
    )
