"""Types of the simulated ground: windows, layers, class ids and coordinates in px of 10 m."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cerraseg.config.dataset import Dataset

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Points = npt.NDArray[np.floating]

NEIGHBOURHOOD = 640
"""Side in px of a piece of ground that holds every class: 5 × 5 patches of 128 px."""

CERRADATA = Dataset.of("cerradata-4mm")
"""What is simulated: its bands and its classes."""

MSI_BANDS, SAR_BANDS = (CERRADATA.bands(sensor) for sensor in ("msi", "sar"))

CLASSES = CERRADATA.classes("l2")
"""The classes that the ground is made of."""

PARENTS = CERRADATA.ancestors("l2")["l1"]
"""L1 class of each of :data:`CLASSES`."""

ID = {land_cover.abbreviation: land_cover.id for land_cover in CLASSES}
"""Ids of :data:`CLASSES` by abbreviation."""


class Window(NamedTuple):
    """A rectangle of ground in px: first row (to the south), first column (to the east), height and width."""

    top: int
    left: int
    height: int
    width: int

    def padded(self, px: int) -> "Window":
        """Return the window with ``px`` more on every side."""
        return Window(self.top - px, self.left - px, self.height + 2 * px, self.width + 2 * px)


class Ground(NamedTuple):
    """Layers (H, W) of a window: L2 ids uint8; float32: growth stage about 0-1, tone and texture about N(0, 1)."""

    l2: npt.NDArray[np.uint8]
    stage: Floats
    tone: Floats
    texture: Floats


class Salts(NamedTuple):
    """Numbers with which the noise fields of one scene are hashed; ``entropy`` is the seed and the scene's number."""

    entropy: tuple[int, int]
    wild: int
    detail: int
    texture: int
    warp_y: int
    warp_x: int
    parcel: int
    river: int
    creek: int
    road: int
    shape: int
    stage: int
    light: int
    air: int
    moisture: int

    @property
    def grid_angle(self) -> float:
        """How far the fields are turned from north, in radians."""
        return self.parcel % 1571 / 1000


def salts(seed: int, scene: int) -> Salts:
    """Draw the salts of one scene: equal arguments give equal salts, others independent ones."""
    entropy = seed, scene
    state = np.random.SeedSequence(entropy).generate_state(len(Salts._fields) - 1, np.uint64)
    return Salts(entropy, *map(int, state))


def axes(window: Window) -> tuple[Floats, Floats]:
    """Return global rows (H, 1) and columns (1, W) of a window."""
    y = np.arange(window.top, window.top + window.height, dtype=np.float32)[:, None]
    return y, np.arange(window.left, window.left + window.width, dtype=np.float32)[None]


def turn(y: Points, x: Points, angle: float) -> tuple[Points, Points]:
    """Return coordinates along axes that are turned by ``angle`` radians."""
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return y * cos + x * sin, x * cos - y * sin
