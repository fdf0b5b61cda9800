"""Losses on logits. Pixels with mask value 255 reach none of them; a batch without a labelled pixel gives 0.

Nothing here waits for the device: no result decides what is computed next.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from cerraseg.taxonomy import IGNORE


def cross_entropy(logits: Tensor, masks: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Mean cross-entropy over the labelled pixels, weighted by class where ``class_weights`` (classes,) are given.

    Args:
        logits: (B, classes, H, W).
        masks: (B, H, W) int64, 255 = ignore.
        class_weights: non-negative; the mean is over the sum of the pixels' weights, as in torch.
    """
    total = F.cross_entropy(logits, masks, class_weights, ignore_index=IGNORE, reduction="sum")
    labelled = masks != IGNORE
    amount = labelled.sum() if class_weights is None else (class_weights[masks.where(labelled, 0)] * labelled).sum()
    return total / amount.clamp(min=1e-12)


_SMOOTH = 1e-5  # as published


def dice(logits: Tensor, masks: Tensor, absent: bool = False) -> Tensor:
    """1 − mean soft Dice over classes (Milletari et al. 2016, 3DV; squared sizes).

    Args:
        logits: (B, classes, H, W).
        masks: (B, H, W) int64, 255 = ignore.
        absent: also count the classes that the batch's masks lack, as the published loss does: each adds about 1.
    """
    labelled = masks != IGNORE
    probabilities = logits.float().softmax(1) * labelled[:, None]
    truth = masks[:, None] == torch.arange(logits.shape[1], device=masks.device).view(-1, 1, 1)
    axes = (0, 2, 3)
    overlap = (probabilities * truth).sum(axes)
    pixels = truth.sum(axes)
    score = (2 * overlap + _SMOOTH) / (probabilities.square().sum(axes) + pixels + _SMOOTH)
    counted = labelled.any().expand_as(pixels) if absent else pixels > 0
    return ((1 - score) * counted).sum() / counted.sum().clamp(min=1)
