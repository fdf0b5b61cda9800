"""Masks of class ids, and the edges between classes that follow from them."""

import numpy as np
from numpy.typing import NDArray

from cerraseg.core.taxonomy import IGNORE, PARENTS

Mask = NDArray[np.uint8]
"""Class ids (..., H, W), 255 = ignore."""

_PARENT_OF = np.full(256, IGNORE, np.uint8)
_PARENT_OF[: len(PARENTS)] = PARENTS


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


def roll_up(mask: Mask) -> Mask:
    """Replace class ids of L2 by those of their parents in L1; 255 stays."""
    return _PARENT_OF[mask]
