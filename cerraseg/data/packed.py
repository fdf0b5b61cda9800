"""The packed store: all patches in a few memory-mapped arrays that every later step reads.

``images.npy`` float32 (N, bands, size, size), NaN where a band has no data; ``masks.npy`` uint8 (N, layers, size, size)
with the classes of each level, by position in its legend, its edges, and any better masks for validation and test, 255
where ignored; ``header.json``: see :class:`Header`.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib.format import write_array_header_1_0
from numpy.typing import NDArray

from cerraseg.core.errors import DataError
from cerraseg.core.files import atomic_write

_MAKE_AGAIN = "remove it and give the same command again, which makes it anew"


@dataclass(frozen=True)
class Header:
    """Number of packed patches, their bands and mask layers in order, and digests of the ids and of the pixels."""

    patches: int
    bands: tuple[str, ...]
    layers: tuple[str, ...]
    ids: str
    pixels: str


@dataclass(frozen=True)
class Store:
    """The packed arrays, memory-mapped read-only: images (N, bands, size, size), masks (N, layers, size, size)."""

    images: NDArray[np.float32]
    masks: NDArray[np.uint8]
    header: Header

    @property
    def size(self) -> int:
        """Height and width of a patch in pixels."""
        return int(self.images.shape[-1])

    def channels(self, bands: Sequence[str]) -> slice | list[int]:
        """Return the places of bands on the second axis of ``images``, a slice where they follow one another."""
        known = self.header.bands
        if lacking := [band for band in bands if band not in known]:
            raise DataError(
                f"the packed store has the bands {', '.join(known)}, not {', '.join(lacking)}; expected all of the "
                "scenario's modality: pack again, or take the scenario out"
            )
        places = [known.index(band) for band in bands]
        first = places[0]
        return slice(first, first + len(places)) if places == [*range(first, first + len(places))] else places

    def layer(self, layer: str) -> int:
        """Return the index of a level (``l1``) or of its edges (``edge_l1``) on the second axis of ``masks``."""
        if layer not in self.header.layers:
            raise DataError(f"{layer} is not in the packed store, which has {', '.join(self.header.layers)}")
        return self.header.layers.index(layer)

    def truth(self, layer: str) -> str:
        """Return the layer that validation and test go by in place of ``layer``: better masks where there are any."""
        return f"truth_{layer}" if f"truth_{layer}" in self.header.layers else layer


def open_array(path: str | Path, patches: int | None = None) -> NDArray[Any]:
    """Map a step's ``.npy`` file read-only; refuse one that is cut short or does not hold so many ``patches``."""
    try:
        array: NDArray[Any] = np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except Exception as error:  # of any type: numpy evaluates the header, which may be damaged
        raise DataError(f"{path}: no whole array of numbers ({error}); {_MAKE_AGAIN}") from None
    if patches not in (None, len(array)):
        raise DataError(f"{path}: {len(array)} patches; expected {patches}, one for each id: {_MAKE_AGAIN}")
    return array


@contextmanager
def new_array(path: str | Path, shape: tuple[int, ...]) -> Iterator[BinaryIO]:
    """Yield a ``.npy`` file that takes the bytes of a uint8 array; a memory-mapped one would grow in memory."""
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        yield file


def open_store(images: str | Path, masks: str | Path, header: str | Path) -> Store:
    """Open the packed arrays; refuse files that do not belong together."""
    fields = json.loads(Path(header).read_text())
    known = Header(**fields | {"bands": tuple(fields["bands"]), "layers": tuple(fields["layers"])})
    store = Store(open_array(images), open_array(masks), known)
    for array, dtype, names in ((store.images, np.float32, known.bands), (store.masks, np.uint8, known.layers)):
        if array.dtype != dtype or array.shape != (known.patches, len(names), store.size, store.size):
            raise DataError(f"{images}, {masks} and {header} do not belong together; remove them and pack again")
    return store


def batches(rows: Sequence[int] | NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Cut rows into consecutive batches of at most ``size``."""
    return np.array_split(np.asarray(rows), range(size, len(rows), size))
