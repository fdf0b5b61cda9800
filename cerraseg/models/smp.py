"""Networks of segmentation-models-pytorch, also with an encoder for each sensor (late fusion)."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import segmentation_models_pytorch as smp
import timm
import torch
from torch import Tensor, nn

from cerraseg.config.custom_models import check_origin
from cerraseg.config.suggestions import check_known, meant, nearest
from cerraseg.core.errors import ConfigError

ARCHITECTURES: dict[str, Any] = {kind.__name__: kind for kind in smp.MODEL_ARCHITECTURES_MAPPING.values()}


def build_smp(
    channels: Sequence[int],
    classes: int,
    *,
    architecture: str,
    encoder: str,
    depth: int | None = None,
    options: Mapping[str, Any] = {},
    fusion: Literal["early", "late"] = "early",
) -> nn.Module:
    """Build any model of segmentation-models-pytorch that returns logits, without pretrained parameters.

    Args:
        channels: input bands of each sensor.
        architecture: name of the library's class, such as ``UnetPlusPlus``.
        encoder: an encoder of segmentation-models-pytorch (``resnet50``) or of timm (``tu-convnext_tiny``).
        depth: stages of the encoder; None: the architecture's own number.
        options: further arguments of the architecture and, of timm's encoders, of the encoder.
        fusion: ``early`` gives all bands to one encoder; ``late`` has one for each sensor, of which there are two
            or more, see :class:`LateFusion`.

    Raises:
        ConfigError: if the library builds no such model; the message begins with the key at fault.
    """
    net: nn.Module = _build(architecture, encoder, depth, options, sum(channels), classes)
    if fusion == "late":
        if len(channels) < 2:
            raise ConfigError("fusion: late joins sensors, got one; expected a modality of two or more, such as concat")
        encoders = [_build(architecture, encoder, depth, options, bands, classes).encoder for bands in channels]
        net.encoder = LateFusion(encoders, channels, net.encoder)
    return net


def _build(
    architecture: str, encoder: str, depth: int | None, options: Mapping[str, Any], channels: int, classes: int
) -> Any:
    check_known("architecture", architecture, ARCHITECTURES)
    check_origin(encoder, options)
    _check_encoder(encoder)
    kind = ARCHITECTURES[architecture]
    known = [name for name in inspect.signature(kind).parameters if name != "kwargs"]
    for option in options:
        # The library passes unknown options on to timm's encoders, which refuse them, and drops them for its own.
        if option not in known and not encoder.startswith("tu-"):
            raise ConfigError(f"options.{option}: {architecture} has no such argument{nearest(option, known)}")
    given = {**options, **({} if depth is None else {"encoder_depth": depth})}
    try:
        return kind(encoder, encoder_weights=None, in_channels=channels, classes=classes, **given)
    except Exception as error:  # any option may be given, and the library's words explain best what is wrong with it
        words = " ".join(str(error).split())
        raise ConfigError(
            f"encoder: {encoder!r} in a {architecture} with {given}: {words}. Expected what "
            "segmentation-models-pytorch can build: change encoder, depth or options"
        ) from None


def _check_encoder(encoder: str) -> None:
    of_timm = encoder.startswith("tu-")
    names = [f"tu-{name}" for name in timm.list_models()] if of_timm else list(smp.encoders.encoders)
    if encoder not in names and not (of_timm and timm.is_model(encoder[3:])):  # the list has no pretrained tags
        raise ConfigError(
            f"encoder: {encoder!r} is unknown{meant(encoder, names) or ';'} expected an encoder of "
            "segmentation-models-pytorch, or tu-<name> for one of timm"
        )


class LateFusion(nn.Module):
    """Replace an encoder of all bands: its features have the same number, shapes and strides.

    Features are joined at each scale as in C. Hazirbas et al., "FuseNet", ACCV (2016), by convolutions as in N.
    Audebert et al., "Beyond RGB", ISPRS Journal of Photogrammetry and Remote Sensing 140 (2018).

    At each scale a 1 × 1 convolution, initialised to the mean, reduces the sensors' channels to those of one
    encoder. Scales without parameters (the images themselves, the empty features of some encoders) are concatenated.
    """

    def __init__(self, encoders: Sequence[nn.Module], bands: Sequence[int], whole: Any) -> None:
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
