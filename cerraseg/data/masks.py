"""Masks of class positions: read from files of class ids, and the edges and coarser classes that follow from them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from cerraseg.config.dataset import UNKNOWN, Level
from cerraseg.core.errors import LegendError
from cerraseg.core.taxonomy import IGNORE
from cerraseg.geo.images import Mask as MaskFile

Mask = NDArray[np.uint8]
"""Positions of classes in their legend (..., H, W), 255 = ignore."""

_MOST_LISTED = 5  # unknown values in a message


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


def read_positions(
    file: MaskFile, level: Level, where: str, window: Window | None = None, ids: Mapping[float, int] = {}
) -> tuple[NDArray[Any], Mask]:
    """Read the values of an open mask (H, W), all or in a window, and the positions in the legend that they stand for.

    Args:
        where: names the mask in messages.
        ids: value → class id, where it holds other values than ids.

    Raises:
        LegendError: if there are values that are neither classes nor ignored.
    """
    values, valid = file.read(window)
    found = values
    if ids:
        found = np.full(values.shape, -1, np.int64)
        for value, id_ in ids.items():
            found[values == value] = id_
    positions = level.positions(found)
    positions[~valid] = IGNORE
    if (foreign := positions == UNKNOWN).any():
        counts = Counter(values[foreign].tolist()).most_common(_MOST_LISTED)
        listed = ", ".join(f"{value:g} ({count} pixels)" for value, count in counts)
        known = ", ".join(f"{id_:g}" for id_ in ids or level.ids)
        ignored = ", ".join(map(str, (*level.ignore, IGNORE)))
        error = LegendError(
            f"{where}: values {listed}; expected those of {level.name}, {known}, or {ignored} to ignore"
        )
        error.level, error.values = level.name, Counter(values[valid].tolist())
        raise error
    return values, positions
