"""Baselines: a pixel's class from its bands, and from their means and deviations in windows around it."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAST = -100.0
"""Least log-probability that a baseline returns; that of a class which it has never seen."""

_NARROWEST = 0.01  # added to a deviation, in standard deviations of its band, before its logarithm


class Baseline(nn.Module):
    """What the baselines share. All that is fitted is in parameters and buffers.

    Buffers:
        floor: smallest value of each band in training, for bands that are taken in logarithm; 0 for the others.
        centre, scale: subtracted from a band, in logarithm or not, and dividing it.
        mean, std: the same of each feature.
        offset: added to the score of each class, such as the logarithm of its prior.
    """

    floor: Tensor
    centre: Tensor
    scale: Tensor
    mean: Tensor
    std: Tensor
    offset: Tensor

    def __init__(self, bands: int, classes: int, windows: Sequence[int]) -> None:
        super().__init__()
        self.windows, self.count = tuple(windows), bands * (1 + 2 * len(windows))
        sizes = {"floor": bands, "centre": bands, "scale": bands, "mean": self.count, "std": self.count}
        for name, size in (sizes | {"offset": classes}).items():
            fill = torch.ones if name in ("scale", "std") else torch.zeros
            self.register_buffer(name, fill(size, 1, 1))

    def fit_bands(self, bands: Sequence[Mapping[str, float]]) -> None:
        """Set what is done to each band by its ``min``, ``mean`` and ``std`` in training: logarithm where all is > 0.

        The deviation of a logarithm is taken as std / mean; the features are standardised once more.
        """
        for k, band in enumerate(bands):
            logged, spread = band["min"] > 0, band["std"] or 1.0
            self.floor[k] = band["min"] if logged else 0.0
            self.centre[k] = math.log(band["mean"]) if logged else band["mean"]
            self.scale[k] = spread / band["mean"] if logged else spread

    def features(self, images: Tensor) -> Tensor:
        """Compute the bands, then by window their means and deviations: (B, features, H, W) of (B, bands, H, W)."""
        logged = images.maximum(self.floor).log()
        bands = torch.where(self.floor > 0, logged, images).sub_(self.centre).div_(self.scale)
        parts = [bands]
        for side in self.windows:
            around = F.pad(bands, [side // 2] * 4, mode="replicate")
            mean, square = (_window_mean(values, side) for values in (around, around.square()))
            parts += [mean, self.deviation((square - mean.square()).clamp(min=0).sqrt())]
        return torch.cat(parts, 1).sub_(self.mean).div_(self.std)

    def deviation(self, values: Tensor) -> Tensor:
        """Transform local deviations to features."""
        return values

    def scores(self, features: Tensor) -> Tensor:
        """Compute scores (B, classes, H, W) of features (B, features, H, W), before ``offset``."""
        raise NotImplementedError

    def classify(self, features: Tensor) -> Tensor:
        """Compute log-probabilities (B, classes, H, W) of features (B, features, H, W)."""
        return (self.scores(features).float() + self.offset).log_softmax(1).clamp(min=LEAST)

    def forward(self, images: Tensor) -> Tensor:
        """Compute log-probabilities (B, classes, H, W) of raw pixels (B, bands, H, W)."""
        return self.classify(self.features(images))


class Pixel(Baseline):
    """A network of 1 × 1 convolutions on the features."""

    def __init__(
        self, bands: int, classes: int, windows: Sequence[int] = (3, 7), hidden: Sequence[int] = (96, 96)
    ) -> None:
        super().__init__(bands, classes, windows)
        sizes = [self.count, *hidden, classes]
        layers: list[nn.Module] = [nn.Conv2d(*pair, 1) for pair in pairwise(sizes)]
        self.layers = nn.Sequential(*[part for layer in layers for part in (layer, nn.ReLU())][:-1])

    def scores(self, features: Tensor) -> Tensor:
        """Compute logits under even classes."""
        found: Tensor = self.layers(features)
        return found


class Gaussian(Baseline):
    """Gaussian maximum likelihood: a normal distribution of each class, deviations in logarithm.

    A class's convolution whitens the features, so that the sum of their squares is the Mahalanobis distance.
    """

    def __init__(self, bands: int, classes: int, windows: Sequence[int] = (3, 7)) -> None:
        super().__init__(bands, classes, windows)
        self.whiten = nn.ModuleList(nn.Conv2d(self.count, self.count, 1) for _ in range(classes))

    def deviation(self, values: Tensor) -> Tensor:
        """Take the logarithm of deviations."""
        return (values + _NARROWEST).log()

    def scores(self, features: Tensor) -> Tensor:
        """Compute minus half the squared Mahalanobis distance to each class."""
        with torch.autocast(features.device.type, enabled=False):  # differences of large sums
            distances = [of_class(features).square().sum(1, keepdim=True) for of_class in self.whiten]
            return torch.cat(distances, 1) / -2


BASELINES: dict[str, type[Pixel | Gaussian]] = {"pixel": Pixel, "gaussian": Gaussian}
"""By the name that the configuration has for them."""


def _window_mean(values: Tensor, side: int) -> Tensor:
    """Mean over the square window of each pixel that has all of it, along rows, then along columns."""
    return F.avg_pool2d(F.avg_pool2d(values, (1, side), 1), (side, 1), 1)
