"""The packed store: all patches in a few memory-mapped arrays that every later step reads.

``images.npy`` float32 (N, bands, 128, 128), ``masks.npy`` uint8 (N, layers, 128, 128) with the classes and the edges of
each level, ``header.json``: band and layer order, and digests of the ids in row order and of all pixels.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rasterio
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from cerraseg.edges import derive
from cerraseg.errors import DataError
from cerraseg.files import replacing
from cerraseg.layout import edge_layer
from cerraseg.logs import log, progress
from cerraseg.patches import SIZE, levels_of
from cerraseg.taxonomy import MODALITIES

_CHUNK = 64  # patches a worker writes at a time: about 60 MB


@dataclass(frozen=True)
class Header:
    """What the packed arrays hold: how many patches, which bands and mask layers, digests of ids and of pixels."""

    patches: int
    bands: tuple[str, ...]
    layers: tuple[str, ...]
    ids: str
    pixels: str


@dataclass(frozen=True)
class Store:
    """The packed arrays, memory-mapped read-only.

    Attributes:
        images: (N, bands, 128, 128) float32.
        masks: (N, layers, 128, 128) uint8, 255 = ignore.
        header: order of bands and layers.
    """

    images: NDArray[np.float32]
    masks: NDArray[np.uint8]
    header: Header

    def channels(self, modality: str) -> slice:
        """The bands of a modality as a slice of the second axis of ``images``.

        Raises:
            DataError: if the store lacks one of the bands.
        """
        wanted, bands = MODALITIES[modality], self.header.bands
        if not set(wanted) <= set(bands):
            raise DataError(f"modality {modality} needs {', '.join(wanted)}; the packed store has {', '.join(bands)}")
        start = bands.index(wanted[0])
        return slice(start, start + len(wanted))

    def layer(self, layer: str) -> int:
        """The index of a level (``l1``) or of its edges (``edge_l1``) on the second axis of ``masks``.

        Raises:
            DataError: if the store lacks the layer.
        """
        if layer not in self.header.layers:
            raise DataError(f"{layer} is not in the packed store, which has {', '.join(self.header.layers)}")
        return self.header.layers.index(layer)


def digest(texts: Iterable[str]) -> str:
    """Short hash of texts in order: of the ids, by which arrays and tables know that they belong together."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def rows_of(split: str | Path, patches: str) -> NDArray[np.int64]:
    """Rows of the packed arrays that hold a part of the split (``train``, ``validation``, ``test``) or ``all``."""
    parts = pd.read_csv(split, dtype=str)["split"]
    return np.flatnonzero((parts == patches).to_numpy() | (patches == "all"))


def pack(table: str | Path, images: str | Path, masks: str | Path, header: str | Path, *, workers: int = 1) -> None:
    """Read every GeoTIFF of the patch table once and write the packed arrays; the header comes last.

    Raises:
        DataError: if the disk is too small or a file changed since it was indexed.
    """
    patches = pd.read_parquet(table)
    modalities = [name for name in ("msi", "sar") if name in patches]
    levels = levels_of(patches.columns)
    edges = [edge_layer(level) for level in levels]
    layers = (*levels, *edges)
    bands = tuple(band for name in modalities for band in MODALITIES[name])
    shape = (len(patches), len(bands), SIZE, SIZE)
    _check_disk(Path(images), len(patches) * SIZE * SIZE * (4 * len(bands) + len(layers)))
    with replacing(images) as new_images, replacing(masks) as new_masks:
        open_memmap(new_images, "w+", np.float32, shape).flush()
        open_memmap(new_masks, "w+", np.uint8, (len(patches), len(layers), SIZE, SIZE)).flush()
        jobs = []
        for start in range(0, len(patches), _CHUNK):
            part = patches.iloc[start : start + _CHUNK]
            files = (part[columns].values.tolist() for columns in (modalities, levels, edges))
            jobs.append((start, *files, str(new_images), str(new_masks)))
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            hashes = [h for chunk in progress(pool.map(_write_chunk, jobs), "pack", total=len(jobs)) for h in chunk]
    content = Header(len(patches), bands, layers, digest(patches["id"]), digest(hashes))
    with replacing(header) as temporary:
        temporary.write_text(json.dumps(asdict(content), indent=2) + "\n")
    log.info("packed %d patches with %d bands and layers %s", len(patches), len(bands), ", ".join(layers))


def _write_chunk(job: tuple[int, list[list[str]], list[list[str]], list[list[str]], str, str]) -> list[str]:
    """Write the patches from row ``start`` on; return a hash of each one's pixels."""
    start, image_files, mask_files, edge_files, images_path, masks_path = job
    images, masks = open_memmap(images_path, "r+"), open_memmap(masks_path, "r+")
    hashes = []
    for row, (of_images, of_masks, of_edges) in enumerate(zip(image_files, mask_files, edge_files, strict=True), start):
        classes = np.concatenate([_read(path) for path in of_masks]).astype(np.uint8)
        edges = [_read(path)[0] if path else derive(mask) for path, mask in zip(of_edges, classes, strict=True)]
        images[row] = np.concatenate([_read(path) for path in of_images])
        masks[row] = [*classes, *edges]
        hashes.append(hashlib.sha256(images[row].tobytes() + masks[row].tobytes()).hexdigest())
    return hashes


def _read(path: str) -> NDArray[Any]:
    try:
        with rasterio.open(path) as source:
            return source.read()  # type: ignore[no-any-return]
    except (rasterio.errors.RasterioError, OSError) as error:
        raise DataError(f"{path}: was indexed but cannot be read now ({error}); run the index step again") from None


def _check_disk(path: Path, needed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise DataError(
            f"packing needs {needed / 1e9:.1f} GB in {path.parent}, {free / 1e9:.1f} GB are free; "
            "free some space or point 'results' at a larger disk"
        )


def open_store(images: str | Path, masks: str | Path, header: str | Path) -> Store:
    """Open the packed arrays read-only.

    Raises:
        DataError: if the arrays do not have the shape that the header announces.
    """
    fields = json.loads(Path(header).read_text())
    known = Header(**fields | {"bands": tuple(fields["bands"]), "layers": tuple(fields["layers"])})
    store = Store(np.load(images, mmap_mode="r"), np.load(masks, mmap_mode="r"), known)
    if (store.images.shape[:2], store.masks.shape[:2]) != (
        (known.patches, len(known.bands)),
        (known.patches, len(known.layers)),
    ):
        raise DataError(f"{images}, {masks} and {header} do not belong together; remove them and pack again")
    return store


def batches(rows: Sequence[int] | NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Cut rows into consecutive batches of at most ``size``."""
    return np.array_split(np.asarray(rows), range(size, len(rows), size))
