"""The models by name, and those that a configuration describes.

A model takes (B, channels, H, W) float32 and returns logits (B, classes, H, W), or a pair of them: of the classes, and
of interior and edge.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from cerraseg.core.errors import ConfigError
from cerraseg.models.smp import build_own
from cerraseg.models.transnuseg import build_transnuseg
from cerraseg.models.unet import build_unet

MODELS: dict[str, Callable[..., nn.Module]] = {"unet": build_unet, "transnuseg": build_transnuseg}
"""Built-in model → function of (channels, classes, **settings) that builds it."""


def build(name: str, channels: int, classes: int, settings: Mapping[str, Any]) -> nn.Module:
    """Build the model ``name`` for ``channels`` input bands and ``classes`` output classes.

    A name that is not in :data:`MODELS` is one of a configuration's own; its settings say what it is.

    Raises:
        ConfigError: if the settings are those of no model.
    """
    if name in MODELS:
        return MODELS[name](channels, classes, **settings)
    try:
        return build_own(channels, classes, **settings)
    except ConfigError as error:
        raise ConfigError(f"models.{name}.{error}") from None
