"""U-Net (Ronneberger et al. 2015, MICCAI) as segmentation-models-pytorch builds it, without pretrained parameters."""

from collections.abc import Sequence

import segmentation_models_pytorch as smp
from torch import nn

from cerraseg.config.custom_models import check_origin
from cerraseg.core.errors import ConfigError


def build_unet(
    channels: int,
    classes: int,
    *,
    encoder: str = "resnet50",
    decoder_channels: Sequence[int] = (256, 128, 64, 32, 16),
) -> nn.Module:
    """Build a U-Net that returns logits.

    Args:
        channels: input bands.
        classes: output classes.
        encoder: an encoder of segmentation-models-pytorch (``resnet50``) or of timm (``tu-mobilenetv3_small_100``).
        decoder_channels: one number a decoder stage, from the deepest; their count is the encoder's depth.

    Raises:
        ConfigError: if the encoder is unknown or not that deep.
    """
    try:
        check_origin(encoder)
        model: nn.Module = smp.Unet(
            encoder,
            encoder_depth=len(decoder_channels),
            encoder_weights=None,
            decoder_channels=tuple(decoder_channels),
            in_channels=channels,
            classes=classes,
        )
    except (KeyError, ValueError, RuntimeError, ConfigError) as error:
        raise ConfigError(
            f"unet.encoder {encoder!r} with {len(decoder_channels)} decoder_channels: {error}. "
            "Expected an encoder of segmentation-models-pytorch, or tu-<name> for one of timm"
        ) from None
    return model
