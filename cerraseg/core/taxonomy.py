"""What a class is, and the values of a mask that mean the same in every data set."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

IGNORE = 255
"""Mask value of a pixel without a label: it reaches neither loss nor score."""


class LandCover(NamedTuple):
    """One class: id in masks and maps (0-254), short label, full name, colour (0-255), id of the coarser class."""

    id: int
    abbreviation: str
    name: str
    colour: tuple[int, int, int]
    parent: int | None = None


Legend = tuple[LandCover, ...]
"""The classes of a level. Inside the pipeline a class goes by its position here, in files of people by its id."""

EDGES: Legend = (
    LandCover(0, "In", "Interior of a class", (235, 235, 235)),
    LandCover(1, "Ed", "Edge between classes", (40, 40, 40)),
)
"""What an edge mask holds."""


def id_table(classes: Sequence[LandCover]) -> NDArray[np.uint8]:
    """Return position → class id, (256,), all else 255: ``table[positions]`` is what a map holds."""
    table = np.full(256, IGNORE, np.uint8)
    table[: len(classes)] = [entry.id for entry in classes]
    return table


def position_table(classes: Sequence[LandCover], unknown: int = IGNORE) -> NDArray[np.uint8]:
    """Return class id → position, (256,), 255 for 255 and ``unknown`` for all else: the way back from a map."""
    table = np.full(256, unknown, np.uint8)
    table[[entry.id for entry in classes]] = np.arange(len(classes))
    table[IGNORE] = IGNORE
    return table
