"""Cut a scene into overlapping tiles and weigh them where they overlap."""

import numpy as np
from numpy.typing import NDArray

from cerraseg.core.layout import SIZE


def starts(length: int, overlap: float) -> list[int]:
    """Place tiles of :data:`SIZE` pixels along a side of a scene.

    Args:
        length: of the side in pixels.
        overlap: share (0 to 0.9) of a tile that the next one covers too.

    Returns:
        The first pixel of each tile. The last tile is moved back to end where the side ends; a side shorter than a
        tile has one.
    """
    step = max(1, round(SIZE * (1 - overlap)))
    last = max(0, length - SIZE)
    return [*range(0, last, step), last]


def weights(firsts: list[int]) -> NDArray[np.float32]:
    """Weigh tiles by a squared sine that falls to 0 at their edges (a Hann window).

    Args:
        firsts: first pixel of each tile along a side, see :func:`starts`.

    Returns:
        Weight of each tile at each of its pixels, (tiles, SIZE). The weights at a pixel sum to 1; a pixel of one tile
        has exactly 1.
    """
    shape = np.sin(np.pi * (np.arange(SIZE) + 0.5) / SIZE) ** 2
    total = np.zeros(firsts[-1] + SIZE)
    for first in firsts:
        total[first : first + SIZE] += shape
    return np.stack([shape / total[first : first + SIZE] for first in firsts]).astype(np.float32)
