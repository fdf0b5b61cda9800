"""The packed store: all patches in a few memory-mapped arrays that every later step reads.

``images.npy`` float32 (N, bands, 128, 128), ``masks.npy`` uint8 (N, layers, 128, 128) with the classes and the edges of
each level, ``header.json``: see :class:`Header`.
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import rasterio
from numpy.lib.format import open_memmap, write_array_header_1_0
from numpy.typing import NDArray

from cerraseg.core.errors import DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.layout import SIZE, edge_layer, levels_of
from cerraseg.core.logs import log, progress
from cerraseg.core.processes import process_map
from cerraseg.core.storage import need_room
from cerraseg.core.taxonomy import MODALITIES
from cerraseg.data.masks import derive_edges
from cerraseg.data.reader import GDAL, checksum, open_layer
from cerraseg.data.tables import digest, read_patch_table

_CHUNK = 64  # patches that a worker writes at a time
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
    """The packed arrays, memory-mapped read-only: images (N, bands, 128, 128), masks (N, layers, 128, 128)."""

    images: NDArray[np.float32]
    masks: NDArray[np.uint8]
    header: Header

    def channels(self, modality: str) -> slice:
        """Return the bands of a modality as a slice of the second axis of ``images``; refuse one that is not there."""
        wanted, bands = MODALITIES[modality], self.header.bands
        if not set(wanted) <= set(bands):
            raise DataError(f"modality {modality} needs {', '.join(wanted)}; the packed store has {', '.join(bands)}")
        start = bands.index(wanted[0])
        return slice(start, start + len(wanted))

    def layer(self, layer: str) -> int:
        """Return the index of a level (``l1``) or of its edges (``edge_l1``) on the second axis of ``masks``."""
        if layer not in self.header.layers:
            raise DataError(f"{layer} is not in the packed store, which has {', '.join(self.header.layers)}")
        return self.header.layers.index(layer)


def open_array(path: str | Path, patches: int | None = None) -> NDArray[Any]:
    """Map a step's ``.npy`` file read-only, without unpickling anything.

    Raises:
        DataError: if it is cut short, holds no numbers, or does not hold so many ``patches``.
    """
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
        if array.dtype != dtype or array.shape != (known.patches, len(names), SIZE, SIZE):
            raise DataError(f"{images}, {masks} and {header} do not belong together; remove them and pack again")
    return store


def batches(rows: Sequence[int] | NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Cut rows into consecutive batches of at most ``size``."""
    return np.array_split(np.asarray(rows), range(size, len(rows), size))


def pack(table: str | Path, images: str | Path, masks: str | Path, header: str | Path, *, workers: int = 1) -> None:
    """Read every GeoTIFF of the patch table once and write the packed arrays; the header comes last.

    Raises:
        DataError: if a file changed since it was indexed.
        StorageError: if the disk is too small.
    """
    patches = read_patch_table(table)
    modalities, levels = _modalities(patches.columns), levels_of(patches.columns)
    layers = (*levels, *map(edge_layer, levels))
    bands = tuple(band for name in modalities for band in MODALITIES[name])
    need_room(Path(images).parent, len(patches) * SIZE * SIZE * (4 * len(bands) + len(layers)), "packing")
    files = patches[[*modalities, *layers, "content"]].to_dict("records")
    chunks = [(start, files[start : start + _CHUNK]) for start in range(0, len(files), _CHUNK)]
    with atomic_write(images) as new_images, atomic_write(masks) as new_masks:
        open_memmap(new_images, "w+", np.float32, (len(patches), len(bands), SIZE, SIZE))
        open_memmap(new_masks, "w+", np.uint8, (len(patches), len(layers), SIZE, SIZE))
        written = process_map(partial(_write_chunk, new_images, new_masks), chunks, workers)
        hashes = [h for chunk in progress(written, "pack", total=len(chunks)) for h in chunk]
    content = Header(len(patches), bands, layers, digest(patches["id"]), digest(hashes))
    with atomic_write(header) as temporary:
        temporary.write_text(json.dumps(asdict(content), indent=2) + "\n")
    log.info("packed %d patches with %d bands and layers %s", len(patches), len(bands), ", ".join(layers))


def _modalities(columns: Collection[str]) -> list[str]:
    return [name for name in ("msi", "sar") if name in columns]


def _write_chunk(images: Path, masks: Path, chunk: tuple[int, list[dict[str, Any]]]) -> list[str]:
    """Hash and write the patches from a row on, plainly: on a full disk a write to a mapping would end the process."""
    first, patches = chunk
    hashes = []
    with rasterio.Env(**GDAL), images.open("r+b") as image_file, masks.open("r+b") as mask_file:
        for path, file in ((images, image_file), (masks, mask_file)):
            array = np.load(path, mmap_mode="r")
            file.seek(array.offset + first * array.strides[0])
        for files in patches:
            image, mask = _read_patch(files)
            hashes.append(hashlib.sha256(image.tobytes() + mask.tobytes()).hexdigest())
            image_file.write(image.data)
            mask_file.write(mask.data)
    return hashes


def _read_patch(files: dict[str, Any]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Image (bands, 128, 128) and mask (layers, 128, 128) of a row of the patch table."""
    modalities, levels = _modalities(files), levels_of(files)
    read = {}
    for layer in (*modalities, *levels, *(edge for edge in map(edge_layer, levels) if files[edge])):
        with open_layer(files[layer], layer) as source:
            read[layer] = source.read()
    if checksum(read.values()) != files["content"]:
        raise DataError(
            f"{', '.join(files[layer] for layer in read)}: other pixels than when they were indexed; run the index "
            "step again (snakemake --forcerun index)"
        )
    image = np.concatenate([read[modality] for modality in modalities], dtype=np.float32, casting="unsafe")
    classes = np.concatenate([read[level] for level in levels], dtype=np.uint8, casting="unsafe")
    edges = [read.get(edge_layer(level), derive_edges(mask[None])) for level, mask in zip(levels, classes, strict=True)]
    return image, np.concatenate([classes, *edges], dtype=np.uint8, casting="unsafe")
