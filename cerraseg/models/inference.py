"""The device of predictions, and the decision from probabilities to a class."""

from typing import Literal

import torch
from torch import Tensor

from cerraseg.core.taxonomy import CHILDREN, PARENTS

Precision = Literal["float32", "bfloat16"]


def device() -> torch.device:
    """Return this process's GPU where there is one, else the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def probabilities(logits: Tensor) -> Tensor:
    """Compute the softmax of logits (B, classes, H, W), in float32."""
    return logits.float().contiguous().softmax(1)


def decide(probabilities: Tensor, hierarchical: bool = False) -> tuple[Tensor, Tensor]:
    """Decide class ids and confidence in percent, uint8 (B, H, W), from probabilities (B, classes, H, W).

    With ``hierarchical`` they are those of L2: first the L1 class with the largest sum over its L2 classes is taken,
    then the best of these, so that the map of L1 is the parent of that of L2 at every pixel. The confidence is that of
    the L2 class. The first of equal classes counts, at either level.
    """
    if hierarchical:
        parts = probabilities.unbind(1)
        sums = torch.stack([torch.stack([parts[k] for k in children]).sum(0) for children in CHILDREN], 1)
        likeliest, _ = _first_best(sums)
        inside = [part.where(likeliest == parent, -1) for part, parent in zip(parts, PARENTS, strict=True)]
        probabilities = torch.stack(inside, 1)
    ids, best = _first_best(probabilities)
    return ids, percent(best)


def _first_best(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first class with the largest value, uint8, and that value: (B, H, W) of (B, classes, H, W)."""
    # A class id is the number of classes before the first that reaches the maximum; max(1) is far slower.
    best = values.amax(1)
    ids, behind = torch.zeros_like(best, dtype=torch.uint8), torch.ones_like(best, dtype=torch.bool)
    for part in values.unbind(1)[:-1]:
        behind &= part < best
        ids += behind
    return ids, best


def percent(share: Tensor) -> Tensor:
    """Convert a share from 0 to 1 to whole percent, uint8."""
    return (share * 100).round().to(torch.uint8)
