"""Late fusion: an encoder for each modality, their features joined at each scale.

Sources: C. Hazirbas et al., "FuseNet: Incorporating Depth into Semantic Segmentation via Fusion-based CNN
Architecture", ACCV (2016), adds the features of two encoders at each scale; N. Audebert, B. Le Saux and S. Lefèvre,
"Beyond RGB: Very High Resolution Urban Remote Sensing with Multimodal Deep Networks", ISPRS Journal of Photogrammetry
and Remote Sensing 140 (2018), lets convolutions join them.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class LateFusion(nn.Module):
    """Replace an encoder of all bands: its features have the same number, shapes and strides.

    At each scale a 1 × 1 convolution reduces the modalities' channels to those of one encoder. It is initialised to
    their mean, which keeps pretrained features. Scales without parameters (the images themselves, and the empty
    features of some encoders) are concatenated.
    """

    def __init__(self, encoders: Sequence[nn.Module], bands: Sequence[int], whole: Any) -> None:
        """Join ``encoders``, one per number of ``bands``, in the place of ``whole``, the encoder of all bands."""
        super().__init__()
        self.encoders, self.bands = nn.ModuleList(encoders), tuple(bands)
        self.out_channels, self.output_stride = list(whole.out_channels), whole.output_stride
        scales = zip(*(encoder.out_channels for encoder in encoders), strict=True)
        self.joins = nn.ModuleList(map(_join, scales, self.out_channels))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute the features of images (B, sum of bands, H, W), one tensor per scale."""
        parts = torch.split(images, list(self.bands), 1)
        features = (encoder(part) for encoder, part in zip(self.encoders, parts, strict=True))
        scales = zip(*features, strict=True)
        return [join(torch.cat(scale, 1)) for join, scale in zip(self.joins, scales, strict=True)]


def _join(channels: Sequence[int], joined: int) -> nn.Module:
    if sum(channels) == joined:
        return nn.Identity()
    join = nn.Conv2d(sum(channels), joined, 1)
    with torch.no_grad():
        join.weight.copy_((torch.eye(joined) / len(channels)).repeat(1, len(channels))[:, :, None, None])
        join.bias.zero_()  # type: ignore[union-attr]
    return join
