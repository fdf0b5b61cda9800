"""What predictions of patches and of scenes share: the device, its arithmetic, and from probabilities to a class."""

from contextlib import AbstractContextManager
from typing import Any, Literal

import torch
from torch import Tensor

Precision = Literal["float32", "bfloat16"]


def device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def arithmetic(on: torch.device, precision: str) -> AbstractContextManager[Any]:
    """What the forward pass computes in; enter it once, since bfloat16 parameters are made anew at each entry."""
    return torch.autocast(on.type, torch.bfloat16, enabled=precision == "bfloat16")


def probabilities(logits: Tensor) -> Tensor:
    """Softmax of logits (B, classes, H, W), in float32."""
    return logits.float().contiguous().softmax(1)


def decide(probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """Class ids and confidence in percent, uint8 (B, H, W), of probabilities (B, classes, H, W).

    The first of equal classes counts, as with ``max(1)``, whose search for the place is slow: here a class id is the
    number of classes before the first that reaches the maximum.
    """
    best = probabilities.amax(1)
    ids, behind = torch.zeros_like(best, dtype=torch.uint8), torch.ones_like(best, dtype=torch.bool)
    for part in probabilities.unbind(1)[:-1]:
        behind &= part < best
        ids += behind
    return ids, percent(best)


def percent(share: Tensor) -> Tensor:
    """A share of 0 to 1 as whole percent, uint8."""
    return (share * 100).round().to(torch.uint8)
