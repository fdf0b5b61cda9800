"""The device of predictions, and the decision from probabilities to a class."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from cerraseg.core.errors import DataError

Precision = Literal["float32", "bfloat16"]


def device(name: str = "auto") -> torch.device:
    """Return a device by name; ``auto``: this process's GPU, of NVIDIA or AMD, or Apple's; the CPU where there is none.

    Raises:
        DataError: if torch knows no such device here.
    """
    if name != "auto":
        try:
            return torch.empty(0, device=name).device
        except (RuntimeError, AssertionError) as error:  # torch's words, whose first line says it
            said = str(error).splitlines()[0]
            raise DataError(f"device {name}: {said}; expected auto, cpu, cuda or mps, as the machine has") from None
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def probabilities(logits: Tensor) -> Tensor:
    """Compute the softmax of logits (B, classes, H, W), in float32."""
    return logits.float().contiguous().softmax(1)


def flipped_mean(predict: Callable[[Tensor], Sequence[Tensor]], images: Tensor) -> list[Tensor]:
    """Average over the eight flips and quarter turns of the square (D4) what ``predict`` makes of images (B, C, S, S).

    It makes any number of tensors (B, …, S, S), such as the probabilities of several tasks.
    """
    found = []
    for turns in range(4):
        turned = images.rot90(turns, (2, 3))
        both = zip(predict(turned), predict(turned.flip(3)), strict=True)
        found.append([(straight + flipped.flip(3)).rot90(-turns, (2, 3)) for straight, flipped in both])
    return [torch.stack(parts).sum(0) / 8 for parts in zip(*found, strict=True)]


def decide(probabilities: Tensor, ancestors: Sequence[Sequence[int]] = ()) -> tuple[Tensor, Tensor]:
    """Decide classes, by position, and confidence in percent, uint8 (B, H, W), from probabilities (B, classes, H, W).

    With ``ancestors`` the decision is made from the top down, so that the map of a coarser level holds the ancestor of
    each class at every pixel: first the class of the coarsest level with the largest sum over the classes below it is
    taken, then among these the class of the next level, and so on. The confidence is that of the class in the end. The
    first of equal classes counts, at every level.

    Args:
        probabilities: of the model's level.
        ancestors: of each coarser level, the coarsest first, the position there of each class's ancestor.
    """
    parts = list(probabilities.unbind(1))
    for line in ancestors:
        groups = [[k for k, above in enumerate(line) if above == one] for one in sorted(set(line))]
        sums = torch.stack([torch.stack([parts[k] for k in group]).sum(0) for group in groups], 1)
        likeliest, _ = _first_best(sums)
        for place, group in enumerate(groups):
            for k in group:
                parts[k] = parts[k].where(likeliest == place, -1)
    positions, best = _first_best(torch.stack(parts, 1) if ancestors else probabilities)
    return positions, percent(best)


def _first_best(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first class with the largest value, uint8, and that value: (B, H, W) of (B, classes, H, W)."""
    # A class's position is the number of classes before the first that reaches the maximum; max(1) is far slower.
    best = values.amax(1)
    ids, behind = torch.zeros_like(best, dtype=torch.uint8), torch.ones_like(best, dtype=torch.bool)
    for part in values.unbind(1)[:-1]:
        behind = behind & (part < best)  # not in place, which no exporter takes
        ids = ids + behind
    return ids, best


def percent(share: Tensor) -> Tensor:
    """Convert a share from 0 to 1 to whole percent, uint8."""
    return (share * 100).round().to(torch.uint8)
