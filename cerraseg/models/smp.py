"""The models that a configuration describes: any architecture of segmentation-models-pytorch, any of its encoders."""

import inspect
from collections.abc import Mapping
from typing import Any, Literal

import segmentation_models_pytorch as smp
import timm
from torch import Tensor, nn
from torch.nn import functional as F

from cerraseg.config.custom_models import check_origin
from cerraseg.config.suggestions import meant, nearest
from cerraseg.core.errors import ConfigError
from cerraseg.core.taxonomy import MODALITIES
from cerraseg.models.late_fusion import LateFusion

Fusion = Literal["early", "late"]

ARCHITECTURES: dict[str, Any] = {kind.__name__: kind for kind in smp.MODEL_ARCHITECTURES_MAPPING.values()}
"""Name → class of segmentation-models-pytorch."""


def build_own(
    channels: int,
    classes: int,
    *,
    architecture: str,
    encoder: str,
    depth: int | None = None,
    options: Mapping[str, Any] = {},
    fusion: Fusion = "early",
) -> nn.Module:
    """Build a model of segmentation-models-pytorch that returns logits, without pretrained parameters.

    Args:
        channels: input bands.
        classes: output classes.
        architecture: name in :data:`ARCHITECTURES`.
        encoder: an encoder of segmentation-models-pytorch (``resnet50``) or of timm (``tu-convnext_tiny``).
        depth: stages of the encoder; None: the architecture's own number.
        options: further arguments of the architecture and, of timm's encoders, of the encoder.
        fusion: ``early`` gives all bands to one encoder; ``late`` has one for each modality of ``concat``, see
            :class:`LateFusion`.

    Raises:
        ConfigError: if the library builds no such model; it begins with the key at fault.
    """
    parts = [len(MODALITIES[modality]) for modality in ("msi", "sar")]
    if fusion == "late" and channels != sum(parts):
        raise ConfigError(f"fusion: late joins {parts[0]} and {parts[1]} bands, got {channels}; expected concat")

    def network(bands: int) -> Any:
        return _network(architecture, encoder, depth, options, bands, classes)

    net: nn.Module = network(channels)
    if fusion == "late":
        net.encoder = LateFusion([network(bands).encoder for bands in parts], parts, net.encoder)
    for layer in net.modules():
        if type(layer) is nn.BatchNorm2d:
            layer.__class__ = _BatchNorm
    return net


class _BatchNorm(nn.BatchNorm2d):
    """Normalises a lone value a channel, of one patch behind a global pooling, by the running statistics."""

    def forward(self, images: Tensor) -> Tensor:
        if self.training and images.numel() == self.num_features:
            return F.batch_norm(images, self.running_mean, self.running_var, self.weight, self.bias, False, 0, self.eps)
        return super().forward(images)


def _network(
    architecture: str, encoder: str, depth: int | None, options: Mapping[str, Any], bands: int, classes: int
) -> Any:
    if architecture not in ARCHITECTURES:
        raise ConfigError(f"architecture: {architecture!r} is not allowed{nearest(architecture, ARCHITECTURES)}")
    check_origin(encoder, options)
    kind = ARCHITECTURES[architecture]
    known = [name for name in inspect.signature(kind).parameters if name != "kwargs"]
    for option in options:
        # The library passes what it does not know to timm's encoders, which complain, and drops it for its own.
        if option not in known and not encoder.startswith("tu-"):
            raise ConfigError(f"options.{option}: {architecture} has no such argument{nearest(option, known)}")
    given = {**options, **({} if depth is None else {"encoder_depth": depth})}
    try:
        return kind(encoder, encoder_weights=None, in_channels=bands, classes=classes, **given)
    except Exception as error:  # the user chose what the library was given, and its words are the best there are
        raise ConfigError(_explained(architecture, encoder, given, error)) from None


def _explained(architecture: str, encoder: str, given: Mapping[str, Any], error: Exception) -> str:
    """What the library says, behind the key at fault."""
    timms = encoder.startswith("tu-")
    if not (timm.is_model(encoder[3:]) if timms else encoder in smp.encoders.encoders):
        names = [f"tu-{name}" for name in timm.list_models()] if timms else list(smp.encoders.encoders)
        return (
            f"encoder: {encoder!r} is unknown{meant(encoder, names) or ';'} expected an encoder of "
            "segmentation-models-pytorch, or tu-<name> for one of timm"
        )
    words = str(error.args[0] if error.args else error).splitlines()
    return (
        f"architecture: {architecture} with encoder {encoder!r} and {dict(given)}: {' '.join(words)}. "
        "Expected what segmentation-models-pytorch can build: change encoder, depth or options"
    )
