"""The models by name.

A model takes (B, channels, H, W) float32 and returns logits (B, classes, H, W), or a pair of them: of the classes, and
of interior and edge.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from cerraseg.models.transnuseg import build_transnuseg
from cerraseg.models.unet import build_unet

MODELS: dict[str, Callable[..., nn.Module]] = {"unet": build_unet, "transnuseg": build_transnuseg}
"""Model name → function of (channels, classes, **settings) that builds it."""


def build(name: str, channels: int, classes: int, settings: Mapping[str, Any]) -> nn.Module:
    """Build the model ``name`` for ``channels`` input bands and ``classes`` output classes."""
    return MODELS[name](channels, classes, **settings)
