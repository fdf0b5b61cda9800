"""Losses on logits. Pixels with mask value 255 reach none of them; a batch without a labelled pixel gives 0.

Each is a function of sums over pixels, which are summed over all processes. Nothing here waits for the device.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cerraseg.config.recipes import Recipe
from cerraseg.core.taxonomy import IGNORE
from cerraseg.training.distributed import sum_over_processes
from cerraseg.training.weightings import UNWEIGHTED, Balance

_SMOOTH = 1e-5  # of Dice, as published


def cross_entropy(logits: Tensor, masks: Tensor, class_weights: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
    """Return the mean cross-entropy over the labelled pixels, over the sum of their class weights as in torch.

    Args:
        logits: (B, classes, H, W).
        masks: (B, H, W) int64, 255 = ignore.
        class_weights: (classes,), non-negative.
        smoothing: share of each label spread evenly over the classes (Szegedy et al. 2016, CVPR).
    """
    # torch's own sum over a mask's pixels has no fixed order on CUDA (pytorch issue 17350).
    reduction = "none" if logits.is_cuda else "sum"
    how = {"ignore_index": IGNORE, "reduction": reduction, "label_smoothing": smoothing}
    total = F.cross_entropy(logits, masks, class_weights, **how).sum()  # type: ignore[arg-type]
    labelled = masks != IGNORE
    amount = labelled.sum() if class_weights is None else (class_weights[masks.where(labelled, 0)] * labelled).sum()
    total, amount = sum_over_processes(total, amount)
    return total / amount.clamp(min=1e-12)


def focal(logits: Tensor, masks: Tensor, gamma: float) -> Tensor:
    """Return the mean over the labelled pixels of (1 − p)^gamma · cross-entropy, p the probability of the true class.

    T.-Y. Lin et al. 2017, ICCV, "Focal loss for dense object detection", without its class weights. Arguments as in
    :func:`cross_entropy`.
    """
    each = F.cross_entropy(logits, masks, ignore_index=IGNORE, reduction="none")  # 0 where ignored
    total = ((-torch.expm1(-each)) ** gamma * each).sum()
    total, amount = sum_over_processes(total, (masks != IGNORE).sum())
    return total / amount.clamp(min=1)


def roll_up(logits: Tensor, parents: Sequence[int], classes: int) -> Tensor:
    """Return log-probabilities of a coarser level, each a sum over the classes below it: (B, classes, H, W).

    ``parents`` has the position there of the parent of each of the logits' classes; a class without any gets −∞.
    """
    parts = logits.float().log_softmax(1).unbind(1)  # an index would have to be copied to the device, and waited for
    below = [[part for part, parent in zip(parts, parents, strict=True) if parent == k] for k in range(classes)]
    summed = (torch.stack(g).logsumexp(0) if g else torch.full_like(parts[0], -torch.inf) for g in below)
    return torch.stack(list(summed), 1)


def dice(logits: Tensor, masks: Tensor, absent: bool = False) -> Tensor:
    """Return 1 − mean soft Dice over classes (Milletari et al. 2016, 3DV; squared sizes).

    With ``absent`` the classes that the batch's masks lack count, too, as in the published loss: each adds about 1.
    """
    labelled = masks != IGNORE
    probabilities = logits.float().softmax(1) * labelled[:, None]
    truth = masks[:, None] == torch.arange(logits.shape[1], device=masks.device).view(-1, 1, 1)
    axes = (0, 2, 3)
    overlap, squares, pixels = sum_over_processes(
        (probabilities * truth).sum(axes), probabilities.square().sum(axes), truth.sum(axes)
    )
    score = (2 * overlap + _SMOOTH) / (squares + pixels + _SMOOTH)
    counted = pixels.any().expand_as(pixels) if absent else pixels > 0
    return ((1 - score) * counted).sum() / counted.sum().clamp(min=1)


class TaskLoss(nn.Module):
    """The loss of one task: cross-entropy, or focal loss, and Dice added as the recipe says.

    The former alone is balanced between classes; an adjustment is added to its logits before a softmax of the recipe's.
    """

    class_weights: Tensor | None
    adjustment: Tensor | None

    def __init__(self, recipe: Recipe, balance: Balance = UNWEIGHTED) -> None:
        super().__init__()
        self.recipe, self.gamma = recipe, balance.gamma
        for name in ("class_weights", "adjustment"):
            values = getattr(balance, name)
            told = None if values is None else torch.tensor(values, dtype=torch.float32)
            self.register_buffer(name, told, persistent=False)

    def forward(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Return the loss of logits (B, classes, H, W) and masks (B, H, W) int64, 255 = ignore."""
        return self.compare(self.adjusted(logits), logits, masks)

    def adjusted(self, logits: Tensor) -> Tensor:
        """Return the logits (B, classes, H, W) that the cross-entropy gets."""
        return logits if self.adjustment is None else logits + self.adjustment.view(-1, 1, 1)

    def compare(self, adjusted: Tensor, logits: Tensor, masks: Tensor) -> Tensor:
        """Return the loss of logits for the cross-entropy, logits for Dice, and masks."""
        recipe = self.recipe
        fed = adjusted.softmax(1) if recipe.softmax_in_loss else adjusted
        if self.gamma:
            entropy = focal(fed, masks, self.gamma)
        else:
            entropy = cross_entropy(fed, masks, self.class_weights, recipe.label_smoothing)
        loss = recipe.cross_entropy * entropy
        if recipe.dice:
            loss = loss + recipe.dice * dice(logits, masks, recipe.dice_absent)
        return loss


class CoarserLoss(nn.Module):
    """The loss at a coarser level: of rolled-up probabilities on its masks, by the recipe's losses.

    ``parents`` are the positions there of the ancestors of the model's classes. A class without a finer one cannot be
    predicted, so its pixels are ignored, and no label is smoothed, which would give some to it.
    """

    def __init__(self, recipe: Recipe, parents: Sequence[int], classes: int, balance: Balance = UNWEIGHTED) -> None:
        super().__init__()
        self.task, self.parents, self.classes = TaskLoss(replace(recipe, label_smoothing=0), balance), parents, classes
        self.childless = [k for k in range(classes) if k not in parents]

    def forward(self, adjusted: Tensor, logits: Tensor, masks: Tensor) -> Tensor:
        """Return the loss of the model's logits, for cross-entropy and Dice, and the level's masks (B, H, W)."""
        for k in self.childless:
            masks = masks.where(masks != k, IGNORE)
        fed, plain = (roll_up(each, self.parents, self.classes) for each in (adjusted, logits))
        return self.task.compare(fed, plain, masks)


class SemanticLoss(nn.Module):
    """The loss of the classes: of the model's level and ``hierarchy`` times the sum of those of coarser levels.

    Adjusted logits are added up as they are, so that the losses of all levels want the same logits. ``balance`` is of
    the model's level; the coarsest of the ``coarser`` losses comes first.
    """

    def __init__(self, recipe: Recipe, balance: Balance = UNWEIGHTED, coarser: Sequence[CoarserLoss] = ()) -> None:
        super().__init__()
        self.hierarchy, self.own, self.coarser = recipe.hierarchy, TaskLoss(recipe, balance), nn.ModuleList(coarser)

    def forward(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Return the loss of logits and masks (B, layers, H, W): first the model's level, last the coarser ones."""
        loss: Tensor = self.own(logits, masks[:, 0])
        if self.coarser:
            adjusted, truths = self.own.adjusted(logits), masks[:, -len(self.coarser) :].unbind(1)
            losses = [of(adjusted, logits, truth) for of, truth in zip(self.coarser, truths, strict=True)]
            loss = loss + self.hierarchy * sum(losses)
        return loss


class DiceLoss(nn.Module):
    """The Dice loss of the data set's own code, for a training of one's own: 1 − soft Dice, mean over all classes.

    Args:
        num_classes: of the logits and masks.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes

    def forward(self, logits: Tensor, masks: Tensor, softmax: bool = True) -> Tensor:
        """Return the loss of logits (B, classes, H, W), or probabilities without ``softmax``, and masks (B, H, W)."""
        if logits.shape[1] != self.num_classes:
            raise ValueError(f"{logits.shape[1]} channels; expected {self.num_classes}, one a class")
        return dice(logits if softmax else logits.clamp_min(1e-12).log(), masks.long(), absent=True)
