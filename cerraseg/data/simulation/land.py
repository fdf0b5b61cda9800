"""A simulated land, and noise that is hashed from places in px of 10 m, so that any window of it can be made alone."""

from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from cerraseg.config.dataset import Dataset

Floats = NDArray[np.floating]
Window = tuple[int, int, int, int]
"""A rectangle of ground in px: first row (to the south) and column (to the east), height and width."""

CERRADATA = Dataset.of("cerradata-4mm")
PARENTS = CERRADATA.ancestors("l2")["l1"]
ID = {land_cover.abbreviation: land_cover.id for land_cover in CERRADATA.classes("l2")}


class Land(NamedTuple):
    """What a land is made by, see ``simulate`` in the schema of the configuration."""

    seed: int
    scene: int = 0
    rarity: str = "even"
    label_noise: float = 1.0
    spectral: float = 0.0
    texture: float = 0.2
    gain: float = 0.08
    haze: float = 0.01
    looks: float = 4.0
    drift: float = 0.0

    def uniform(self, name: str, i: NDArray[Any], j: NDArray[Any]) -> Floats:
        """Hash pairs of whole numbers (broadcast) to numbers in [0, 1), others for each ``name``."""
        i, j = (at.astype(np.int64).astype(np.uint64) for at in (i, j))
        key = (self.seed << 64 | self.scene << 32 | crc32(name.encode())) * 0xD6E8FEB86659FD93 >> 32 & 2**64 - 1
        bits = i * np.uint64(0x9E3779B97F4A7C15) + j * np.uint64(0xC2B2AE3D27D4EB4F) + np.uint64(key)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
        return (bits >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)

    def noise(self, name: str, y: Floats, x: Floats, *steps: float) -> Floats:
        """Make value noise of about N(0, 1) at places: an octave, 0.6 of the last, for each lattice (``steps``, px)."""
        total = np.zeros(np.broadcast_shapes(y.shape, x.shape), np.float32)
        for octave, step in enumerate(steps):
            places = [at.astype(np.float64) / step for at in (y, x)]
            i, j = (np.floor(place).astype(np.int64) for place in places)
            fy, fx = ((3 * f**2 - 2 * f**3).astype(np.float32) for f in (place % 1 for place in places))
            rows, columns = np.arange(i.min(), i.max() + 2), np.arange(j.min(), j.max() + 2)
            nodes = self.uniform(f"{name} {octave}", rows[:, None], columns) - 0.5
            at = (i - rows[0]) * columns.size + j - columns[0]
            near, far = (nodes.take(at + k) * (1 - fx) + nodes.take(at + k + 1) * fx for k in (0, columns.size))
            total += 0.6**octave * (near + fy * (far - near))
        return total * float((0.046 * sum(0.36**k for k in range(len(steps)))) ** -0.5)  # one alone has variance 0.046


def axes(window: Window, pad: int = 0) -> tuple[Floats, Floats]:
    """Return rows (H, 1) and columns (1, W) of a window, with ``pad`` px more on every side."""
    y, x = (np.arange(window[k] - pad, window[k] + window[k + 2] + pad, dtype=np.float32) for k in (0, 1))
    return y[:, None], x[None]


def turn(y: Floats, x: Floats, angle: float) -> tuple[Floats, Floats]:
    """Return coordinates along axes that are turned by ``angle`` radians."""
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    return y * cos + x * sin, x * cos - y * sin
