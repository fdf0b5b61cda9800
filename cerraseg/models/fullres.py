"""A small U-Net of full resolution, and its stem beside another U-Net.

In images of 10 m single pixels tell much of the land cover; an encoder made for photographs halves them at once. Here a
stem of 1 × 1 convolutions sees each pixel by itself, and its features are joined again before the head.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIZES: dict[str, tuple[tuple[int, ...], int]] = {
    "small": ((16, 32, 64, 128), 1),
    "medium": ((32, 64, 128, 256), 2),
    "large": ((64, 128, 256, 512), 2),
}
"""Name → channels by level, and convolutions of a level on each side."""


class FullRes(nn.Module):
    """A U-Net (Ronneberger et al. 2015, MICCAI) on the features of the stem: (B, channels, H, W) to (B, classes, H, W).

    H and W are at least 2 to the number of levels.

    Args:
        channels: input bands.
        classes: outputs.
        size: a name of :data:`SIZES`.
        widths: channels by level, in place of those of ``size``.
        stem: channels of the stem.
    """

    def __init__(
        self, channels: int, classes: int, *, size: str = "small", widths: Sequence[int] = (), stem: int = 32
    ) -> None:
        super().__init__()
        usual, depth = SIZES[size]
        widths = widths or usual
        self.stem = make_stem(channels, stem)
        self.down = nn.ModuleList(_level(i, o, depth) for i, o in pairwise([stem, *widths]))
        self.up = nn.ModuleList(_level(i + o, o, depth) for o, i in reversed([*pairwise(widths)]))
        self.head = nn.Conv2d(widths[0] + stem, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits."""
        x = stem = self.stem(images)
        features = [x := self.down[0](x)]
        features += [x := level(F.max_pool2d(x, 2)) for level in self.down[1:]]
        for level, skip in zip(self.up, features[-2::-1], strict=True):
            x = level(torch.cat([F.interpolate(x, skip.shape[-2:]), skip], 1))
        logits: Tensor = self.head(torch.cat([x, stem], 1))
        return logits


class Stemmed(nn.Module):
    """A U-Net whose outputs, ``features``, are joined with those of a stem before the head."""

    def __init__(self, net: nn.Module, channels: int, features: int, stem: int, classes: int) -> None:
        super().__init__()
        self.net, self.stem = net, make_stem(channels, stem)
        self.head = nn.Sequential(_convolution(features + stem, stem, 1), nn.Conv2d(stem, classes, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits (B, classes, H, W) of images (B, channels, H, W)."""
        logits: Tensor = self.head(torch.cat([self.net(images), self.stem(images)], 1))
        return logits


def make_stem(channels: int, stem: int) -> nn.Sequential:
    """Return the stem: two 1 × 1 convolutions, each with batch norm and ReLU."""
    return nn.Sequential(_convolution(channels, stem, 1), _convolution(stem, stem, 1))


def _level(channels: int, width: int, depth: int) -> nn.Sequential:
    return nn.Sequential(*(_convolution(width if k else channels, width, 3) for k in range(depth)))


def _convolution(channels: int, width: int, kernel: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels, width, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True))
