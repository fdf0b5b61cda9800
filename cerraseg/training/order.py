"""Which patches, or squares cut from them, form each batch of an epoch: drawn by seed and epoch alone."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cerraseg.data.packed import batches

Rows = NDArray[np.int64]
"""Positions of patches, (n,); of crops with their top and left pixel, (n, 3)."""

_MOST_PIXELS = 64  # of a class in a patch that can be drawn: 512 bytes, or 157 MB for 21,900 patches with all of 14


@dataclass(frozen=True)
class Pixels:
    """Pixels to draw by class: those of class k are ``places[starts[k] : starts[k + 1]]``."""

    places: NDArray[np.int32]  # position of the patch, and the pixel's place in it, row by row: (pixels, 2)
    starts: Rows  # (classes + 1,)
    chances: NDArray[np.float64]  # of a class at a draw, (classes,)

    def draw(self, draws: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
        """Draw classes and a pixel of each; return positions of patches and places in them."""
        classes = rng.choice(len(self.chances), draws, p=self.chances)
        first, behind = self.starts[classes], self.starts[classes + 1]
        found = self.places[(first + rng.random(draws) * (behind - first)).astype(np.int64)].astype(np.int64)
        return found[:, 0], found[:, 1]


def find_pixels(masks: NDArray[np.uint8], rows: Rows, classes: int, balance: float, seed: int) -> Pixels:
    """Find up to 64 pixels of each class in each patch, every one as likely, and how often to draw a class.

    Masks are those of one level, (N, H, W), of which ``rows`` are the training patches'. ``balance`` is the exponent of
    a class's share of the pixels: 1 draws classes as often as they are, 0 all alike.
    """
    found: list[list[NDArray[np.int32]]] = [[] for _ in range(classes)]
    counts, rng = np.zeros(classes), np.random.default_rng(seed)
    for position, row in enumerate(rows):
        mask = masks[row].ravel()
        pixels = np.bincount(mask, minlength=256)[:classes]
        counts += pixels
        for k in np.flatnonzero(pixels):
            step = -(-pixels[k] // _MOST_PIXELS)
            places = np.flatnonzero(mask == k)[rng.integers(step) :: step]
            found[k].append(np.stack([np.full(len(places), position), places], 1).astype(np.int32))
    chances = np.power(counts, balance, where=counts > 0, out=np.zeros(classes))
    joined = [part for parts in found for part in parts]
    starts = np.cumsum([0, *(sum(map(len, parts)) for parts in found)])
    return Pixels(np.concatenate(joined), starts, chances / chances.sum())


@dataclass
class EpochBatches:
    """Shuffled batches whose members depend on seed and epoch alone, so that a resumed training sees the same ones."""

    positions: int  # how many patches there are
    batch_size: int  # patches or crops per batch; the last batch of an epoch may have fewer
    seed: int
    shares: NDArray[np.float64] | None = None  # chances of a draw with replacement; else each comes once a pass
    smallest: int = 1  # a last batch with fewer is left out
    epoch: int = 0  # of the next pass
    draws: int = 0  # patches or crops per epoch; 0: as many as have the pixels of all patches
    crop: tuple[int, int] | None = None  # sides of patch and crop; None: whole patches
    pixels: Pixels | None = None  # what is drawn instead of patches: a crop or patch holds the drawn one

    def __post_init__(self) -> None:
        size, side = self.crop or (1, 1)
        self.draws = self.draws or -(-self.positions * size**2 // side**2)

    @property
    def length(self) -> int:
        """How many patches or crops the batches of an epoch hold."""
        rest = self.draws % self.batch_size
        return self.draws - rest if rest < min(self.smallest, self.draws) else self.draws

    def __len__(self) -> int:
        return -(-self.length // self.batch_size)

    def __iter__(self) -> Iterator[Rows]:
        rng = np.random.default_rng((self.seed, self.epoch))
        for batch in batches(self._drawn(rng)[: self.length], self.batch_size):
            yield batch[np.argsort(patches_of(batch), kind="stable")]  # file order is kind to disks

    def _drawn(self, rng: np.random.Generator) -> Rows:
        """Draw the patches or crops of an epoch, in the order of its batches."""
        draws, pixel = self.draws, None
        if self.pixels:
            order, pixel = self.pixels.draw(draws, rng)
        elif self.shares is not None:
            order = rng.choice(self.positions, draws, p=self.shares)
        else:
            passes = -(-draws // self.positions)
            order = np.concatenate([rng.permutation(self.positions) for _ in range(passes)])[:draws]
        if not self.crop:
            return order
        size, side = self.crop
        if pixel is None:
            corners = rng.integers(0, size - side + 1, (draws, 2))
        else:
            corners = np.stack(np.divmod(pixel, size), 1) - rng.integers(0, side, (draws, 2))
        return np.column_stack([order, corners.clip(0, size - side)])


def patches_of(batch: Rows) -> Rows:
    """Return the positions of the patches of a batch, (n,)."""
    return batch if batch.ndim == 1 else batch[:, 0]
