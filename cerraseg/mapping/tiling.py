"""Cut a scene into overlapping tiles and weigh them where they overlap."""

import numpy as np
from numpy.typing import NDArray

from cerraseg.core.layout import SIZE


def starts(length: int, overlap: float) -> list[int]:
    """Return the first pixel of each tile of :data:`SIZE` pixels along a side of a scene of ``length`` pixels.

    ``overlap`` is the share (0 to 0.9) of a tile that the next one covers too. The last tile is moved back to end where
    the side ends; a side shorter than a tile has one.
    """
    step = max(1, round(SIZE * (1 - overlap)))
    last = max(0, length - SIZE)
    return [*range(0, last, step), last]


def weights(firsts: list[int]) -> NDArray[np.float32]:
    """Weigh tiles that start at ``firsts`` by a squared sine that falls to 0 at their edges (a Hann window).

    Returns:
        Weight of each tile at each of its pixels, (tiles, SIZE); those at a pixel sum to 1, a single one is exactly 1.
    """
    shape = np.sin(np.pi * (np.arange(SIZE) + 0.5) / SIZE) ** 2
    total = np.zeros(firsts[-1] + SIZE)
    for first in firsts:
        total[first : first + SIZE] += shape
    return np.stack([shape / total[first : first + SIZE] for first in firsts]).astype(np.float32)
