"""Batches of the packed store for training, read ahead by threads or held in a GPU's memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from cerraseg.core.errors import ConfigError
from cerraseg.core.logs import log
from cerraseg.data.packed import Store, batches
from cerraseg.training.order import Rows, patches_of

Loading = Literal["auto", "resident", "streamed"]
Batch = tuple[Tensor, Tensor]

_MOST_RESIDENT = 0.6  # of a GPU's free memory; the rest is for parameters, activations and gradients


class PackedPatches:
    """A part of the split in the store: its rows, and which bands and mask layers of them.

    ``crop`` is the side of the squares that batches of crops name by their corners.
    """

    def __init__(self, store: Store, rows: Rows, bands: Sequence[str], layers: Sequence[str], crop: int = 0) -> None:
        self.rows, self.bands, self.size, self.crop = rows, len(bands), store.size, crop
        self.images, self.channels = np.asarray(store.images), store.channels(bands)
        self.masks = [np.asarray(store.masks)[:, store.layer(layer)] for layer in layers]

    def __len__(self) -> int:
        return len(self.rows)

    def allocate(
        self, patches: int, dtype: torch.dtype, device: torch.device | None = None, side: int = 0, pinned: bool = False
    ) -> Batch:
        """Return uninitialised memory for so many patches, or crops of a side: images of ``dtype``, masks of uint8."""
        side = side or self.size
        images, masks = (
            torch.empty((patches, depth, side, side), dtype=of, device=device, pin_memory=pinned)
            for depth, of in ((self.bands, dtype), (len(self.masks), torch.uint8))
        )
        return images, masks

    def read(self, batch: Rows, into: Batch, held: slice = slice(None)) -> Batch:
        """Copy a batch's masks, and the images in ``held``, to the front of ``into`` and return that front."""
        rows, side = self.rows[patches_of(batch)], into[0].shape[-1]
        corners = np.zeros((len(rows), 2), np.int64) if batch.ndim == 1 else batch[:, 1:]
        squares = [(slice(top, top + side), slice(left, left + side)) for top, left in corners.tolist()]
        images, masks = into[0][: len(rows[held])], into[1][: len(rows)]
        for target, row, square in zip(images.numpy(), rows[held], squares[held], strict=True):
            target[...] = self.images[(row, slice(None), *square)][self.channels]
        for target, row, square in zip(masks.numpy(), rows, squares, strict=True):
            for layer, source in zip(target, self.masks, strict=True):
                layer[...] = source[(row, *square)]
        return images, masks


@dataclass
class Streamed:
    """Batches of a part of the split that threads read from the store, some ahead of the one in use.

    Each is images (B, bands, H, W) and masks (B, layers, H, W) uint8, on the device. On a CPU, a batch's memory
    becomes a later one's: it holds until the next batch is asked for.
    """

    patches: PackedPatches
    order: Iterable[Rows]  # which of the patches form a batch
    device: torch.device
    prepare: Callable[[Tensor], Tensor]  # from raw images to the model's input, on the device
    readers: int = 1  # threads that read from the store
    held: Callable[[int], slice] = slice  # which images of so many patches are loaded; masks are loaded of all

    def __len__(self) -> int:
        return len(list(self.order))

    def __iter__(self) -> Iterator[Batch]:
        todo = list(self.order)
        most, side = max(map(len, todo), default=0), self.patches.crop if todo and todo[0].ndim > 1 else 0
        free: SimpleQueue[Batch] = SimpleQueue()
        for _ in range(self.readers + 2):
            free.put(self.patches.allocate(most, torch.float32, side=side, pinned=self.device.type == "cuda"))
        copies = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None  # type: ignore[no-untyped-call]

        def load(batch: Rows) -> tuple[Batch, Batch]:
            memory = free.get()
            read = self.patches.read(batch, memory, self.held(len(batch)))
            return (_copied(read, copies) if copies else (read[0].to(self.device), read[1].to(self.device))), memory

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
class Resident(Streamed):
    """The same batches, indexed in the device's memory, which holds all patches of the part, prepared, as ``dtype``."""

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
            yield self._cut(self.images, batch[self.held(len(batch))]), self._cut(self.masks, batch)

    def _cut(self, squares: Tensor, batch: Tensor) -> Tensor:
        if batch.ndim == 1:
            return squares[batch]
        patches, top, left = batch.T[..., None, None]
        steps = torch.arange(self.patches.crop, device=batch.device)
        return squares[patches, :, top + steps[:, None], left + steps].movedim(-1, 1)


def loaders(
    parts: Sequence[tuple[PackedPatches, Iterable[Rows]]],
    loading: Loading,
    device: torch.device,
    prepare: Callable[[Tensor], Tensor],
    *,
    dtype: torch.dtype,
    readers: int,
    held: Callable[[int], slice],
) -> list[Streamed]:
    """Return the batches of each part.

    Args:
        parts: patches and order of each.
        loading: ``resident`` in the memory of a GPU, ``streamed``, or ``auto``: resident if all take at most 60 % of
            its free memory.
        device: see :class:`Streamed`, as for ``prepare``, ``readers`` and ``held``.
        dtype: of resident images.

    Raises:
        ConfigError: if they must be resident and there is no GPU with room for them.
    """
    sizes = (patches.allocate(len(patches), dtype, torch.device("meta")) for patches, _ in parts)
    need = sum(images.nbytes + masks.nbytes for images, masks in sizes)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
    fits = need <= _MOST_RESIDENT * free
    told = f"the patches take {need / 1e9:.1f} GB of the {free / 1e9:.1f} GB free on a GPU"
    if loading == "resident" and not fits:
        raise ConfigError(
            f"training.loading is resident, but {told}; expected at most {_MOST_RESIDENT:.0%} of them: "
            "say auto or streamed, or take a larger GPU"
        )
    if not fits or loading == "streamed":
        return [Streamed(*part, device, prepare, readers, held) for part in parts]
    log.info("%s: held there", told)
    return [Resident(*part, device, prepare, readers, held, dtype) for part in parts]
