"""Baselines: a pixel's class from its bands, and from their means and deviations in windows around it."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NEVER = -1e4
"""Offset of a class without a training pixel."""

_LEAST = -30.0  # log-probability of such a class: a lower one would decide alone on the calibration
_NARROWEST = 0.01  # added to a deviation, in standard deviations of its band, before its logarithm


class Baseline(nn.Module):
    """What the baselines share. All that is fitted is in parameters and buffers.

    Buffers:
        bands: (3, bands, 1, 1): smallest value in training of bands that are taken in logarithm, 0 for the others; what
            is subtracted from a band, in logarithm or not; what divides it.
        standard: (2, features, 1, 1): what is subtracted from a feature, and what divides it.
        offset: (classes, 1, 1): added to the scores, such as the logarithm of the prior.
    """

    bands: Tensor
    standard: Tensor
    offset: Tensor

    def __init__(self, bands: int, classes: int, windows: Sequence[int]) -> None:
        super().__init__()
        self.windows, self.count = tuple(windows), bands * (1 + 2 * len(windows))
        for name, shape in (("bands", (3, bands)), ("standard", (2, self.count)), ("offset", (classes,))):
            self.register_buffer(name, torch.ones(*shape, 1, 1))
        self.standard[0] = 0

    def fit_bands(self, bands: Sequence[Mapping[str, float]]) -> None:
        """Set what is done to bands by their ``min``, ``mean`` and ``std`` in training: logarithm where all is above 0.

        The deviation of a logarithm is taken as std / mean; the features are standardised once more.
        """
        for k, band in enumerate(bands):
            logged, std = band["min"] > 0, band["std"] or 1.0
            centre, scale = (math.log(band["mean"]), std / band["mean"]) if logged else (band["mean"], std)
            self.bands[:, k, 0, 0] = torch.tensor([band["min"] if logged else 0.0, centre, scale])

    def features(self, images: Tensor) -> Tensor:
        """Compute the bands, then by window their means and deviations: (B, features, H, W) of (B, bands, H, W)."""
        least, centre, scale = self.bands
        bands = torch.where(least > 0, images.maximum(least).log(), images).sub_(centre).div_(scale)
        parts = [bands]
        for side in self.windows:
            around = F.pad(bands, [side // 2] * 4, mode="replicate")
            mean, square = (  # along rows, then along columns, is quicker
                F.avg_pool2d(F.avg_pool2d(values, (1, side), 1), (side, 1), 1) for values in (around, around.square())
            )
            parts += [mean, self.deviation((square - mean.square()).clamp(min=0).sqrt())]
        return torch.cat(parts, 1).sub_(self.standard[0]).div_(self.standard[1])

    def deviation(self, values: Tensor) -> Tensor:
        """Transform local deviations to features."""
        return values

    def scores(self, features: Tensor) -> Tensor:
        """Compute scores (B, classes, H, W) of features (B, features, H, W), before ``offset``."""
        raise NotImplementedError

    def classify(self, features: Tensor) -> Tensor:
        """Compute log-probabilities (B, classes, H, W) of features (B, features, H, W)."""
        return (self.scores(features).float() + self.offset).log_softmax(1).where(self.offset > NEVER, _LEAST)

    def forward(self, images: Tensor) -> Tensor:
        """Compute log-probabilities (B, classes, H, W) of raw pixels (B, bands, H, W)."""
        return self.classify(self.features(images))


class Pixel(Baseline):
    """A network of 1 × 1 convolutions on the features."""

    def __init__(self, bands: int, classes: int, windows: Sequence[int], hidden: Sequence[int]) -> None:
        super().__init__(bands, classes, windows)
        layers = [nn.Conv2d(*sizes, 1) for sizes in pairwise((self.count, *hidden, classes))]
        self.layers = nn.Sequential(*(part for layer in layers[:-1] for part in (layer, nn.ReLU())), layers[-1])

    def scores(self, features: Tensor) -> Tensor:
        """Compute logits under even classes."""
        found: Tensor = self.layers(features)
        return found


class Gaussian(Baseline):
    """Gaussian maximum likelihood: a normal distribution of each class, deviations in logarithm.

    A class's convolution whitens the features: the sum of their squares is the squared Mahalanobis distance.
    """

    def __init__(self, bands: int, classes: int, windows: Sequence[int]) -> None:
        super().__init__(bands, classes, windows)
        self.whiten = nn.ModuleList(nn.Conv2d(self.count, self.count, 1) for _ in range(classes))

    def deviation(self, values: Tensor) -> Tensor:
        """Take the logarithm of deviations."""
        return (values + _NARROWEST).log()

    def scores(self, features: Tensor) -> Tensor:
        """Compute minus half the squared Mahalanobis distance to each class."""
        # Differences of large sums: neither bfloat16 nor the TF32 that convolutions on CUDA have by default.
        exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
        with torch.autocast(features.device.type, enabled=False), exact:
            return torch.cat([of(features).square().sum(1, keepdim=True) for of in self.whiten], 1) / -2


BASELINES: dict[str, type[Pixel | Gaussian]] = {"pixel": Pixel, "gaussian": Gaussian}
