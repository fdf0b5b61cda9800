"""Augmentation on the device that holds the batch."""

from functools import lru_cache

import torch
from torch import Tensor


def augment(images: Tensor, masks: Tensor, held: slice = slice(None)) -> tuple[Tensor, Tensor]:
    """Turn each patch by one of the eight symmetries of the square (D4), drawn from torch's generator of the CPU.

    Masks are (B, layers, S, S), images (C, S, S) each those of ``held``.
    """
    drawn = torch.randint(8, (len(masks),), pin_memory=masks.is_cuda).to(masks.device, non_blocking=True)
    places = _places(masks.shape[-1], masks.device)[drawn]
    return _taken(images, places[held]), _taken(masks, places)


@lru_cache(maxsize=4)
def _places(size: int, device: torch.device) -> Tensor:
    """Return which pixel each one becomes under each symmetry: (8, size · size) int64, row-major."""
    square = torch.arange(size * size, device=device).view(size, size)
    turned = [torch.rot90(square, k) for k in range(4)]
    return torch.stack([*turned, *(one.flip(-1) for one in turned)]).flatten(1)


def _taken(squares: Tensor, places: Tensor) -> Tensor:
    index = places[:, None].expand(-1, squares.shape[1], -1)
    return squares.flatten(2).gather(2, index).view(squares.shape)
