"""Batches of the packed store for training: read ahead by threads, or held whole in a GPU's memory.

Both give the same batches, on the device: images (B, bands, 128, 128) as ``prepare`` makes them of the raw float32
pixels, masks (B, layers, 128, 128) uint8.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cerraseg.core.errors import ConfigError
from cerraseg.core.layout import SIZE
from cerraseg.core.logs import log
from cerraseg.data.packed import Store, batches

Loading = Literal["auto", "resident", "streamed"]
Batch = tuple[Tensor, Tensor]
Rows = NDArray[np.int64]

_MOST_RESIDENT = 0.6  # of a GPU's free memory; the rest is for parameters, activations and gradients


class Order(Protocol):
    """Positions in a part of the split, one array per batch, in ascending order."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Rows]: ...


class EpochBatches:
    """Shuffled batches whose members depend on seed and epoch alone, so that a resumed training sees the same ones.

    Args:
        positions: how many to draw from.
        batch_size: positions per batch; the last batch of an epoch may have fewer.
        seed: of the shuffling.
        shares: (positions,), the probability of each at a draw: an epoch is as many draws with replacement; without it
            each position comes once.
        smallest: a last batch with fewer is left out.

    Attributes:
        length: positions in the batches of an epoch.
    """

    def __init__(
        self,
        positions: int,
        batch_size: int,
        seed: int,
        shares: NDArray[np.float64] | None = None,
        smallest: int = 1,
    ) -> None:
        self.positions, self.batch_size, self.seed, self.shares, self.epoch = positions, batch_size, seed, shares, 0
        rest = positions % batch_size
        self.length = positions - rest if rest < min(smallest, positions) else positions

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.length // self.batch_size)

    def __iter__(self) -> Iterator[Rows]:
        rng = np.random.default_rng((self.seed, self.epoch))
        if self.shares is None:
            order = rng.permutation(self.positions)
        else:
            order = rng.choice(self.positions, self.positions, p=self.shares)
        yield from map(np.sort, batches(order[: self.length], self.batch_size))  # file order is kind to disks


class PackedPatches:
    """A part of the split in the store: its rows, and which bands and mask layers of them."""

    def __init__(self, store: Store, rows: Rows, modality: str, layers: Sequence[str]) -> None:
        self.rows = rows
        self.images = np.asarray(store.images)[:, store.channels(modality)]
        self.masks = [np.asarray(store.masks)[:, store.layer(layer)] for layer in layers]

    def __len__(self) -> int:
        return len(self.rows)

    def nbytes(self, dtype: torch.dtype) -> int:
        """Return the bytes of all patches with images of ``dtype`` and masks of uint8."""
        depth: int = self.images.shape[1]
        return len(self) * SIZE * SIZE * (depth * dtype.itemsize + len(self.masks))

    def allocate(
        self, patches: int, dtype: torch.dtype, device: torch.device | None = None, pinned: bool = False
    ) -> Batch:
        """Return uninitialised memory for so many patches: images of ``dtype`` and masks of uint8."""
        images, masks = (
            torch.empty((patches, depth, SIZE, SIZE), dtype=of, device=device, pin_memory=pinned)
            for depth, of in ((self.images.shape[1], dtype), (len(self.masks), torch.uint8))
        )
        return images, masks

    def read(self, batch: Rows, into: Batch, held: slice = slice(None)) -> Batch:
        """Copy a batch's masks, and the images in ``held``, to the front of ``into`` and return that front."""
        rows = self.rows[batch]
        of_images = rows[held]
        images, masks = into[0][: len(of_images)], into[1][: len(rows)]
        for target, row in zip(images.numpy(), of_images, strict=True):
            target[...] = self.images[row]
        for target, row in zip(masks.numpy(), rows, strict=True):
            for layer, source in zip(target, self.masks, strict=True):
                layer[...] = source[row]
        return images, masks


@dataclass
class Batches:
    """Batches of a part of the split.

    Attributes:
        patches: part of the split.
        order: which of its patches form a batch.
        device: where batches go.
        prepare: from raw images to the model's input, on the device.
        readers: threads that read from the store.
        held: from the number of patches in a batch to those whose images are loaded; masks are loaded of all.
    """

    patches: PackedPatches
    order: Order
    device: torch.device
    prepare: Callable[[Tensor], Tensor]
    readers: int = 1
    held: Callable[[int], slice] = slice

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Batch]:
        raise NotImplementedError


class Streamed(Batches):
    """Batches that threads read from the store, some ahead of the one in use.

    On a CPU, a batch's memory becomes a later one's: it holds until the next batch is asked for.
    """

    def __iter__(self) -> Iterator[Batch]:
        todo = list(self.order)
        most = max(map(len, todo), default=0)
        free: SimpleQueue[Batch] = SimpleQueue()
        for _ in range(self.readers + 2):
            free.put(self.patches.allocate(most, torch.float32, pinned=self.device.type == "cuda"))
        copies = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None  # type: ignore[no-untyped-call]

        def load(batch: Rows) -> tuple[Batch, Batch]:
            memory = free.get()
            read = self.patches.read(batch, memory, self.held(len(batch)))
            return (_copied(read, copies) if copies else read), memory

        pool = ThreadPoolExecutor(self.readers)
        try:
            reads = (pool.submit(load, batch) for batch in todo)
            ahead = deque(islice(reads, self.readers + 1))
            while ahead:
                (images, masks), memory = ahead.popleft().result()
                yield self.prepare(images), masks
                free.put(memory)
                ahead.extend(islice(reads, 1))
        finally:
            pool.shutdown(cancel_futures=True)


def _copied(batch: Batch, stream: torch.cuda.Stream) -> Batch:
    """A batch in pinned memory on the stream's GPU, when the copy is done."""
    with torch.cuda.stream(stream):
        images, masks = (part.to(stream.device, non_blocking=True) for part in batch)
    stream.synchronize()
    for part in (images, masks):
        part.record_stream(torch.cuda.default_stream(stream.device))  # its memory is free when the training's work is
    return images, masks


@dataclass
class Resident(Batches):
    """Batches indexed in the device's memory, which holds all patches of a part, prepared, as ``dtype``."""

    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        self.images, self.masks = self.patches.allocate(len(self.patches), self.dtype, self.device)
        pieces = batches(np.arange(len(self.patches)), 64)
        done = 0
        for images, masks in Streamed(self.patches, pieces, self.device, self.prepare, self.readers):
            self.images[done : done + len(masks)] = images
            self.masks[done : done + len(masks)] = masks
            done += len(masks)

    def __iter__(self) -> Iterator[Batch]:
        todo = list(self.order)
        places = torch.from_numpy(np.concatenate(todo)).to(self.device)
        for batch in torch.split(places, [len(batch) for batch in todo]):
            yield self.images[batch[self.held(len(batch))]], self.masks[batch]


def loaders(
    parts: Sequence[tuple[PackedPatches, Order]],
    loading: Loading,
    device: torch.device,
    prepare: Callable[[Tensor], Tensor],
    *,
    dtype: torch.dtype,
    readers: int,
    held: Callable[[int], slice],
) -> list[Batches]:
    """Return the batches of each part; see :class:`Batches`.

    Args:
        parts: patches and order of each.
        loading: ``resident`` in the memory of the GPU, ``streamed``, or ``auto``: resident if all take at most 60 % of
            its free memory. On a CPU batches are streamed.
        device: where batches go.
        prepare: from raw images to the model's input, on the device.
        dtype: of resident images.
        readers: threads that read from the store.
        held: which images of a batch are loaded.

    Raises:
        ConfigError: if they must be resident and a GPU has too little memory.
    """
    if _resident(loading, sum(patches.nbytes(dtype) for patches, _ in parts), device):
        return [Resident(*part, device, prepare, readers, held, dtype) for part in parts]
    return [Streamed(*part, device, prepare, readers, held) for part in parts]


def _resident(loading: Loading, need: int, device: torch.device) -> bool:
    if device.type != "cuda" or loading == "streamed":
        return False
    free = torch.cuda.mem_get_info(device)[0]
    fits, sizes = need <= _MOST_RESIDENT * free, f"take {need / 1e9:.1f} GB of the {free / 1e9:.1f} GB free on the GPU"
    if loading == "resident" and not fits:
        raise ConfigError(
            f"training.loading is resident, but the patches {sizes}; expected at most {_MOST_RESIDENT:.0%} of them: "
            "say auto or streamed, or take a larger GPU"
        )
    log.info("the patches %s: %s", sizes, "held there" if fits else "streamed")
    return fits
