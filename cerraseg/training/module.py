"""A scenario's recipe as a LightningModule: model, loss, optimiser, training and validation steps."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from timm.layers.norm_act import convert_sync_batchnorm
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from cerraseg.core.signals import raise_pending_signal
from cerraseg.core.taxonomy import IGNORE
from cerraseg.evaluation.metrics import compute_scores, confusion_matrix
from cerraseg.models import inference, pretrained
from cerraseg.models.checkpoint import Segmenter, make_blueprint
from cerraseg.models.transnuseg import TransNuSeg
from cerraseg.training import losses
from cerraseg.training.augmentation import Radiometry, augment, paste
from cerraseg.training.distributed import ONLY_PROCESS, Share, sum_over_processes
from cerraseg.training.order import EpochBatches
from cerraseg.training.plan import Plan
from cerraseg.training.weightings import WEIGHTINGS


class TrainingModule(L.LightningModule):
    """The recipe as Lightning hooks; everything random in a step follows from the seed, the epoch and the step.

    ``statistics`` are the contents of ``statistics.json``, ``order`` has the batches of the training part.
    """

    def __init__(
        self, plan: Plan, statistics: Mapping[str, Any], order: EpochBatches, share: Share = ONLY_PROCESS
    ) -> None:
        super().__init__()
        self.plan, self.recipe, self.order, self.share = plan, plan.recipe, order, share
        scenario, data = plan.scenario, plan.dataset
        self.blueprint = make_blueprint(scenario, plan.recipe, plan.settings, statistics, data)
        self.segmenter = Segmenter(self.blueprint).to(memory_format=torch.channels_last)
        if plan.pretrained:
            bands, colours = data.bands(scenario.modality), data.colours(scenario.modality)
            pretrained.load_encoder(self.segmenter.net, bands, plan.pretrained, colours)
        self.radiometry = Radiometry(plan.recipe, self.blueprint, self.segmenter)
        if self.share.count > 1 and torch.cuda.is_available():  # torch has it for CUDA alone
            self.segmenter = convert_sync_batchnorm(self.segmenter)  # type: ignore[no-untyped-call]
        if plan.compile:
            self.segmenter.net.compile()
        balance, levels = WEIGHTINGS[scenario.weighting].balance, statistics["levels"]
        coarser = [
            losses.CoarserLoss(plan.recipe, parents, len(data.classes(level)), balance(levels[level]))
            for level, parents in plan.coarser.items()
        ]
        self.semantic = losses.SemanticLoss(plan.recipe, balance(levels[scenario.level]), coarser)
        self.edge = losses.TaskLoss(plan.recipe)

    def configure_optimizers(self) -> Any:
        recipe, parameters = self.recipe, self.segmenter.parameters()
        if recipe.optimizer == "adam":
            optimizer: torch.optim.Optimizer = torch.optim.Adam(parameters, recipe.learning_rate, fused=True)
        else:
            decay = recipe.weight_decay
            optimizer = torch.optim.AdamW(parameters, recipe.learning_rate, weight_decay=decay, fused=True)
        steps = self.plan.epochs * -(-len(self.order) // self.plan.accumulate)
        shape = _SCHEDULES[recipe.schedule](steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, shape), "interval": "step"}}

    def loss(self, logits: Sequence[Tensor], masks: Tensor, part: str) -> Tensor:
        """Return the loss of a batch over all tasks, and add it to the epoch's means.

        Args:
            logits: of the semantic task and, where the model has them, the edges: (B, classes, H, W) each.
            masks: (B, layers, H, W) int64, 255 = ignore.
            part: ``train`` or ``val``.
        """
        semantic = self.semantic(logits[0], masks)
        loss: Tensor = self.recipe.semantic * semantic
        if len(logits) > 1:
            loss = loss + self.recipe.edge * self.edge(logits[1], masks[:, 1])
        amount: Tensor | int = 1
        if (each := self.recipe.epoch_loss) != "batches":
            labelled = (masks[:, 0] != IGNORE).flatten(1)
            amount = sum_over_processes((labelled if each == "pixels" else labelled.any(1)).sum())[0]
        for name, value in ((f"{part}_loss", loss), (f"{part}_semantic_loss", semantic)):
            total, seen = self.losses.get(name, (0, 0))  # on the device, which nobody waits for before the epoch's end
            wide = torch.float32 if value.device.type == "mps" else torch.float64  # which Apple's GPU lacks
            self.losses[name] = (total + amount * value.detach().to(wide), seen + amount)
        return loss

    def logits(self, images: Tensor) -> Sequence[Tensor]:
        """Return the logits of each task."""
        raise_pending_signal()
        return self.segmenter.logits(images)

    def on_train_epoch_start(self) -> None:
        self.order.epoch = self.current_epoch
        self.losses: dict[str, tuple[Tensor | int, Tensor | int]] = {}
        self.predicted: list[list[Tensor]] = []

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        images, masks = batch
        patches, place = len(masks), (self.plan.scenario.seed, self.current_epoch, index)
        _seed(*place)
        if self.recipe.augment:  # drawn for the whole batch, as one process would
            images, masks = augment(images, masks, self.share.held(patches))
        if self.recipe.paste:
            images, masks = paste(images, masks, self.recipe.paste)
        if self.radiometry.needed:
            images = self.radiometry(images, patches, self.share.held(patches))
        if self.share.rank:  # else all processes would drop the same paths
            _seed(*place, self.share.rank)
        if isinstance(net := self.segmenter.net, TransNuSeg):
            parts, held = self.plan.accumulate, self.share.held(patches)
            before = index % parts * (self.plan.batch // parts) + held.start
            net.skip(before / (held.stop - held.start))
        loss = self.loss(self.logits(images), self.share.own(masks).long(), "train")
        return loss * self._part(patches, index)

    def _part(self, patches: int, index: int) -> float:
        """The share of these patches in their batch, times ``accumulate``, by which Lightning then divides."""
        parts, size = self.plan.accumulate, self.plan.batch
        return parts * patches / min(size, self.order.length - index // parts * size)

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        images, masks = batch
        masks = self.share.own(masks)
        logits = self.logits(images)
        self.loss(logits, masks.long(), "val")
        best = [self._decide(logits[0]), *(task.argmax(1) == 1 for task in logits[1:])]
        self.predicted.append([masks.clone(), *(task.byte() for task in best)])  # counted at the epoch's end

    def _decide(self, logits: Tensor) -> Tensor:
        ancestors = self.segmenter.ancestors
        return inference.decide(inference.probabilities(logits), ancestors)[0] if ancestors else logits.argmax(1)

    def on_validation_epoch_end(self) -> None:
        masks, *tasks = (torch.cat(parts).cpu().numpy() for parts in zip(*self.predicted, strict=True))
        classes = (len(self.plan.dataset.classes(self.plan.scenario.level)), 2)
        counts = [confusion_matrix(masks[:, k], task, classes[k]) for k, task in enumerate(tasks)]
        counts = [sum_over_processes(torch.from_numpy(count).to(self.device))[0].cpu().numpy() for count in counts]
        self.scores = [compute_scores(count) for count in counts]  # of the classes and, if predicted, of the edges
        self.log("val_macro_f1", self.scores[0].macro_f1)

    def epoch_row(self) -> dict[str, float]:
        """Return the history's row of the epoch that has just been validated."""
        means = {name: float(total / max(seen, 1e-12)) for name, (total, seen) in self.losses.items()}
        edges = {"val_edge_f1": float(self.scores[1].f1[1])} if self.plan.scenario.edges else {}
        return {
            "epoch": self.current_epoch + 1,
            "train_loss": means["train_loss"],
            "val_loss": means["val_loss"],
            "val_semantic_loss": means["val_semantic_loss"],
            "val_macro_f1": self.scores[0].macro_f1,
            "val_miou": self.scores[0].miou,
            **edges,
            "learning_rate": float(self.optimizers().param_groups[0]["lr"]),  # type: ignore[union-attr]
        }


def _seed(*place: int) -> None:
    seed = int(np.random.SeedSequence(place).generate_state(1)[0])
    # Without a GPU, torch.manual_seed notes a stack trace for each kind of one, 5 % of a step of small crops.
    (torch.default_generator if inference.device().type == "cpu" else torch).manual_seed(seed)


def _warmup_cosine(steps: int) -> Callable[[int], float]:
    """Factor of the learning rate by step: linear over the first tenth, then half a cosine to zero."""
    warmup = max(1, steps // 10)
    return lambda step: min(
        (step + 1) / warmup, 0.5 + 0.5 * math.cos(math.pi * max(0, step - warmup) / (steps - warmup or 1))
    )


def _one_cycle(steps: int) -> Callable[[int], float]:
    """Factor of the learning rate by step: half a cosine from 0.04 to 1 over the first quarter, then another to zero.

    L. N. Smith & N. Topin 2019, SPIE, "Super-convergence", with cosines, and momentum as it is.
    """
    rise = max(1, steps // 4)
    return lambda step: (
        0.52 - 0.48 * math.cos(math.pi * step / rise)
        if step < rise
        else 0.5 + 0.5 * math.cos(math.pi * (step - rise) / (steps - rise or 1))
    )


_SCHEDULES: dict[str, Callable[[int], Callable[[int], float]]] = {
    "constant": lambda steps: lambda step: 1.0,
    "cosine": _warmup_cosine,
    "onecycle": _one_cycle,
}
