"""Networks of segmentation-models-pytorch: the U-Net and the models of the configuration's section ``models``."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import segmentation_models_pytorch as smp
import timm
from torch import nn

from cerraseg.config.custom_models import check_origin
from cerraseg.config.suggestions import meant, nearest
from cerraseg.core.errors import ConfigError
from cerraseg.core.taxonomy import MODALITIES
from cerraseg.models.late_fusion import LateFusion

ARCHITECTURES: dict[str, Any] = {kind.__name__: kind for kind in smp.MODEL_ARCHITECTURES_MAPPING.values()}
"""Name → class of segmentation-models-pytorch."""


def build_unet(
    channels: int,
    classes: int,
    *,
    encoder: str = "resnet50",
    decoder_channels: Sequence[int] = (256, 128, 64, 32, 16),
) -> nn.Module:
    """Build a U-Net (Ronneberger et al. 2015, MICCAI) that returns logits, without pretrained parameters.

    Args:
        channels: input bands.
        classes: output classes.
        encoder: an encoder of segmentation-models-pytorch (``resnet50``) or of timm (``tu-mobilenetv3_small_100``).
        decoder_channels: one number per decoder stage, from the deepest; their count is the encoder's depth.

    Raises:
        ConfigError: if the encoder is unknown or not that deep; the message begins with the key at fault.
    """
    options = {"decoder_channels": tuple(decoder_channels)}
    net: nn.Module = _build("Unet", encoder, len(decoder_channels), options, channels, classes)
    return net


def build_custom(
    channels: int,
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
        channels: input bands.
        classes: output classes.
        architecture: name in :data:`ARCHITECTURES`.
        encoder: an encoder of segmentation-models-pytorch (``resnet50``) or of timm (``tu-convnext_tiny``).
        depth: stages of the encoder; None: the architecture's own number.
        options: further arguments of the architecture and, of timm's encoders, of the encoder.
        fusion: ``early`` gives all bands to one encoder; ``late`` has one for each modality of ``concat``, see
            :class:`LateFusion`.

    Raises:
        ConfigError: if the library builds no such model; the message begins with the key at fault.
    """
    net: nn.Module = _build(architecture, encoder, depth, options, channels, classes)
    if fusion == "late":
        parts = [len(MODALITIES[modality]) for modality in ("msi", "sar")]
        if channels != sum(parts):
            raise ConfigError(f"fusion: late joins {parts[0]} and {parts[1]} bands, got {channels}; expected concat")
        encoders = [_build(architecture, encoder, depth, options, bands, classes).encoder for bands in parts]
        net.encoder = LateFusion(encoders, parts, net.encoder)
    return net


def _build(
    architecture: str, encoder: str, depth: int | None, options: Mapping[str, Any], channels: int, classes: int
) -> Any:
    if architecture not in ARCHITECTURES:
        raise ConfigError(f"architecture: {architecture!r} is not allowed{nearest(architecture, ARCHITECTURES)}")
    check_origin(encoder, options)
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
        raise ConfigError(_explain(architecture, encoder, given, error)) from None


def _explain(architecture: str, encoder: str, given: Mapping[str, Any], error: Exception) -> str:
    of_timm = encoder.startswith("tu-")
    if not (timm.is_model(encoder[3:]) if of_timm else encoder in smp.encoders.encoders):
        names = [f"tu-{name}" for name in timm.list_models()] if of_timm else list(smp.encoders.encoders)
        return (
            f"encoder: {encoder!r} is unknown{meant(encoder, names) or ';'} expected an encoder of "
            "segmentation-models-pytorch, or tu-<name> for one of timm"
        )
    words = " ".join(str(error.args[0] if error.args else error).splitlines())
    return (
        f"encoder: {encoder!r} in a {architecture} with {given}: {words}. Expected what segmentation-models-pytorch "
        "can build: change encoder, depth or options"
    )
