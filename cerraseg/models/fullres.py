"""A small U-Net of full resolution, and its stem beside another U-Net.

In images of 10 m single pixels tell much of the land cover; an encoder made for photographs halves them at once. Here a
stem of two 1 × 1 convolutions sees each pixel by itself, and its features are joined again before the head.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIZES = {"small": ((16, 32, 64, 128), 1), "medium": ((32, 64, 128, 256), 2), "large": ((64, 128, 256, 512), 2)}
"""Name → channels by level, and convolutions of a level on each side."""


class FullRes(nn.Module):
    """A U-Net (Ronneberger et al. 2015, MICCAI) on the features of the stem: (B, channels, H, W) to (B, classes, H, W).

    H and W are at least 2 to the number of levels. ``size`` is a name of :data:`SIZES`; ``widths``, where given, are
    channels by level in place of those of ``size``; ``stem`` are the channels of the stem.
    """

    def __init__(
        self, channels: int, classes: int, *, size: str = "small", widths: Sequence[int] = (), stem: int = 32
    ) -> None:
        super().__init__()
        usual, depth = SIZES[size]
        widths = widths or usual
        self.stem = _convolutions(channels, stem, 2, 1)
        self.down = nn.ModuleList(_convolutions(i, o, depth) for i, o in pairwise([stem, *widths]))
        self.up = nn.ModuleList(_convolutions(i + o, o, depth) for o, i in reversed([*pairwise(widths)]))
        self.head = nn.Conv2d(widths[0] + stem, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits."""
        stem = self.stem(images)
        features = [x := self.down[0](stem)]
        features += [x := level(F.max_pool2d(x, 2)) for level in self.down[1:]]
        for level, skip in zip(self.up, features[-2::-1], strict=True):
            x = level(torch.cat([F.interpolate(x, skip.shape[-2:]), skip], 1))
        logits: Tensor = self.head(torch.cat([x, stem], 1))
        return logits


class Stemmed(nn.Module):
    """A U-Net whose outputs, ``features``, are joined with those of a stem before the head."""

    def __init__(self, net: nn.Module, channels: int, features: int, stem: int, classes: int) -> None:
        super().__init__()
        self.net, self.stem = net, _convolutions(channels, stem, 2, 1)
        self.head = nn.Sequential(_convolutions(features + stem, stem, 1, 1), nn.Conv2d(stem, classes, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits (B, classes, H, W) of images (B, channels, H, W)."""
        logits: Tensor = self.head(torch.cat([self.net(images), self.stem(images)], 1))
        return logits


def _convolutions(channels: int, width: int, depth: int, kernel: int = 3) -> nn.Sequential:
    """Return convolutions, each with batch norm and ReLU."""
    layers: list[nn.Module] = []
    for before in [channels, *[width] * (depth - 1)]:
        convolution = nn.Conv2d(before, width, kernel, padding=kernel // 2, bias=False)
        layers += [convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
