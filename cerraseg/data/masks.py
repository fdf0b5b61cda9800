"""Masks of class positions, and the edges between classes that follow from them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cerraseg.core.taxonomy import IGNORE

Mask = NDArray[np.uint8]
"""Positions of classes in their legend (..., H, W), 255 = ignore."""


def derive_edges(mask: Mask) -> Mask:
    """Derive the edges of a mask (..., H, W): 1 where one of the four neighbours has another class, else 0.

    Ignored pixels (255) stay ignored and make no edge of their neighbours.
    """
    edges = np.zeros(mask.shape, np.uint8)
    for here, there in (
        ((..., slice(1, None), slice(None)), (..., slice(None, -1), slice(None))),
        ((..., slice(1, None)), (..., slice(None, -1))),
    ):
        change = (mask[here] != mask[there]) & (mask[here] != IGNORE) & (mask[there] != IGNORE)
        edges[here] |= change
        edges[there] |= change
    edges[mask == IGNORE] = IGNORE
    return edges


def roll_up(mask: Mask, parents: Sequence[int]) -> Mask:
    """Replace each class by its parent, whose position ``parents`` has by the class's; 255 stays."""
    table = np.full(256, IGNORE, np.uint8)
    table[: len(parents)] = parents
    return table[mask]
