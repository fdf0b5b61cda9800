"""Build a model by its name."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from cerraseg.core.errors import ConfigError
from cerraseg.models.baselines import BASELINES
from cerraseg.models.fullres import FullRes, Stemmed
from cerraseg.models.smp import build_smp
from cerraseg.models.transnuseg import TransNuSeg


def build(name: str, channels: Sequence[int], classes: int, settings: Mapping[str, Any], size: int) -> nn.Module:
    """Build a model without pretrained parameters.

    It takes (B, bands, H, W) float32 and returns logits (B, classes, H, W), or a pair of them: of the classes, and
    of interior and edge.

    Args:
        name: ``unet`` (Ronneberger et al. 2015, MICCAI), ``fullres``, ``transnuseg`` or one of the section ``models``.
        channels: input bands of each sensor, in the order of the stacked bands.
        classes: output classes.
        settings: the model's settings, as the configuration's sections describe them.
        size: side of the patches in pixels. Where the settings have an ``image_size``, that counts.

    Raises:
        ConfigError: if no such model can be built; the message begins with the key at fault.
    """
    if name in BASELINES:
        return BASELINES[name](sum(channels), classes, **settings)
    if name == "transnuseg":
        return TransNuSeg(sum(channels), classes, **{"image_size": size, **settings})
    if name == "fullres":
        return FullRes(sum(channels), classes, **settings)
    section, build_net = ("unet", _unet) if name == "unet" else (f"models.{name}", build_smp)
    try:
        return build_net(channels, classes, **settings)
    except ConfigError as error:
        raise ConfigError(f"{section}.{error}") from None


def _unet(
    channels: Sequence[int],
    classes: int,
    encoder: str = "resnet50",
    decoder_channels: Sequence[int] = (256, 128, 64, 32, 16),
    stem: int = 0,
) -> nn.Module:
    features = decoder_channels[-1] if stem else classes
    depth, options = len(decoder_channels), {"decoder_channels": tuple(decoder_channels)}
    net = build_smp(channels, features, architecture="Unet", encoder=encoder, depth=depth, options=options)
    return Stemmed(net, sum(channels), features, stem, classes) if stem else net
