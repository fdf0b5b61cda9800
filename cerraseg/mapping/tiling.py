"""How a scene is cut into overlapping tiles and how these are weighed where they overlap."""

import numpy as np
from numpy.typing import NDArray

from cerraseg.core.layout import SIZE

WINDOWS = ("cosine", "flat")
"""How a tile counts by the distance to its edge: ``cosine`` (squared sine, 0 at the edge) or everywhere alike."""


def starts(length: int, overlap: float) -> list[int]:
    """First pixels of the tiles along a side of ``length`` pixels, each tile :data:`SIZE` long.

    ``overlap`` is the share (0 to 0.9) of a tile that the next one covers too. The last tile is moved back to end where
    the side ends; a side shorter than a tile has one.
    """
    step = max(1, round(SIZE * (1 - overlap)))
    last = max(0, length - SIZE)
    return [*range(0, last, step), last]


def weights(firsts: list[int], window: str) -> NDArray[np.float32]:
    """Weight of each tile at each of its pixels along one side, (tiles, SIZE); over the tiles of a pixel they sum to 1.

    Tiles that do not overlap have exactly 1.
    """
    shape = np.sin(np.pi * (np.arange(SIZE) + 0.5) / SIZE) ** 2 if window == "cosine" else np.ones(SIZE)
    total = np.zeros(firsts[-1] + SIZE)
    for first in firsts:
        total[first : first + SIZE] += shape
    return np.stack([shape / total[first : first + SIZE] for first in firsts]).astype(np.float32)
