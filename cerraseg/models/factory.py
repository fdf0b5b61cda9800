"""Build a model by its name.

A model takes (B, channels, H, W) float32 and returns logits (B, classes, H, W), or a pair of them: of the classes, and
of interior and edge.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from cerraseg.core.errors import ConfigError
from cerraseg.models.smp import build_custom, build_unet
from cerraseg.models.transnuseg import build_transnuseg


def build(name: str, channels: int, classes: int, settings: Mapping[str, Any]) -> nn.Module:
    """Build a model for ``channels`` input bands and ``classes`` output classes.

    Args:
        name: ``unet``, ``transnuseg`` or a model of the configuration's section ``models``.
        channels: input bands.
        classes: output classes.
        settings: the model's keyword arguments.

    Raises:
        ConfigError: if no such model can be built; the message begins with the key at fault.
    """
    if name == "transnuseg":
        return build_transnuseg(channels, classes, **settings)
    section, build_network = ("unet", build_unet) if name == "unet" else (f"models.{name}", build_custom)
    try:
        return build_network(channels, classes, **settings)
    except ConfigError as error:
        raise ConfigError(f"{section}.{error}") from None
