"""Batches of (image, mask) tensors from the packed store."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from cerraseg.stopping import end_with_parent
from cerraseg.store import Store


class PackedPatches(Dataset[tuple[Tensor, Tensor]]):
    """Patches of the store by the batch: images (B, bands, 128, 128) float32, masks (B, layers, 128, 128) int64.

    Of a batch of n patches, only the images in the slice ``held(n)`` are read; without it all are, as all masks are.
    """

    def __init__(
        self,
        store: Store,
        rows: NDArray[np.int64],
        modality: str,
        layers: Sequence[str],
        held: Callable[[int], slice] = slice,
    ) -> None:
        self.store, self.rows, self.held = store, rows, held
        self.channels, self.layers = store.channels(modality), [store.layer(layer) for layer in layers]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, batch: Sequence[int]) -> tuple[Tensor, Tensor]:
        rows = np.sort(
            self.rows[list(batch)]
        )  # file order: kind to disks, and the order within a batch is of no matter
        images = np.stack([self.store.images[row, self.channels] for row in rows[self.held(len(rows))]])
        masks = np.stack([self.store.masks[row, self.layers] for row in rows])
        return torch.from_numpy(images), torch.from_numpy(masks.astype(np.int64))


class EpochBatches(Sampler[list[int]]):
    """Shuffled batches whose order depends on seed and epoch alone, so that a resumed training sees the same ones."""

    def __init__(self, length: int, batch_size: int, seed: int) -> None:
        self.length, self.batch_size, self.seed, self.epoch = length, batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass; Lightning calls this by itself."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.length // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.length)
        for start in range(0, self.length, self.batch_size):
            yield order[start : start + self.batch_size].tolist()


def loader(patches: PackedPatches, batches: Iterable[list[int]], workers: int = 0) -> DataLoader[tuple[Tensor, Tensor]]:
    """Load whole batches as ``batches`` lists them, ahead of time in ``workers`` processes where there are any."""
    return DataLoader(
        patches,
        batch_size=None,
        sampler=batches,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
        worker_init_fn=end_with_parent,
    )


def augment(images: Tensor, masks: Tensor, held: slice = slice(None)) -> tuple[Tensor, Tensor]:
    """Turn each patch by one of the eight symmetries of the square (D4), drawn from torch's generator.

    Args:
        images: (B, C, S, S), or those of ``held``.
        masks: (B, layers, S, S).
        held: which of the masks have an image.
    """
    choice = torch.randint(8, (len(masks),))
    return _turn(images, choice[held]), _turn(masks, choice)


def _turn(squares: Tensor, choice: Tensor) -> Tensor:
    squares = squares.clone()
    for k in range(1, 8):
        chosen = (choice == k).nonzero().flatten().to(squares.device)
        part = torch.rot90(squares[chosen], k % 4, (-2, -1))
        squares[chosen] = part.flip(-1) if k > 3 else part
    return squares
