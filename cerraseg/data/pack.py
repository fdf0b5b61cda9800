"""Pack all patches: every image is read once, everything after works on the packed arrays."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap

from cerraseg.config.dataset import Dataset
from cerraseg.core.errors import DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log, progress
from cerraseg.core.processes import process_map
from cerraseg.core.storage import need_room
from cerraseg.data.area_windows import CHUNK, Source
from cerraseg.data.packed import Header
from cerraseg.data.tables import digest, layers_of, read_patch_table


def pack(
    table: str | Path,
    dataset: Dataset,
    images: str | Path,
    masks: str | Path,
    header: str | Path,
    *,
    areas: Mapping[str, Mapping[str, Any]] | None = None,
    workers: int = 1,
) -> None:
    """Read every patch of the patch table once and write the packed arrays; the header comes last.

    Args:
        images, masks, header: files to write, see :mod:`cerraseg.data.packed`.
        areas: name → entry of each area whose windows the patches are; None: the patches are files.
        workers: processes to read with.

    Raises:
        DataError: if a file changed since it was indexed.
        StorageError: if the disk is too small.
    """
    patches, size = read_patch_table(table), dataset.patch_size
    sensors, levels = layers_of(patches.columns, dataset)
    known = [dataset.levels[level] for level in levels]
    truths = [level.truth for level in known if level.truth in patches.columns]
    layers = (*levels, *(level.edges for level in known), *truths)
    bands = tuple(band for sensor in sensors for band in dataset.sensors[sensor].bands)
    need_room(Path(images).parent, len(patches) * size * size * (4 * len(bands) + len(layers)), "packing")
    rows: list[dict[str, Any]] = patches.to_dict("records")  # type: ignore[assignment]
    chunks = [(start, rows[start : start + CHUNK]) for start in range(0, len(rows), CHUNK)]
    source = Source(dataset, sensors, levels, areas)
    with atomic_write(images) as new_images, atomic_write(masks) as new_masks:
        open_memmap(new_images, "w+", np.float32, (len(patches), len(bands), size, size))
        open_memmap(new_masks, "w+", np.uint8, (len(patches), len(layers), size, size))
        written = process_map(partial(_write_chunk, source, new_images, new_masks), chunks, workers)
        hashes = [h for chunk in progress(written, "pack", total=len(chunks)) for h in chunk]
    content = Header(len(patches), bands, layers, digest(patches["id"]), digest(hashes))
    with atomic_write(header) as temporary:
        temporary.write_text(json.dumps(asdict(content), indent=2) + "\n")
    log.info("packed %d patches with %d bands and layers %s", len(patches), len(bands), ", ".join(layers))


def _write_chunk(source: Source, images: Path, masks: Path, chunk: tuple[int, list[dict[str, Any]]]) -> list[str]:
    """Hash and write the patches from a row on, plainly: on a full disk a write to a mapping would end the process."""
    first, rows = chunk
    hashes = []
    with images.open("r+b") as image_file, masks.open("r+b") as mask_file:
        for path, file in ((images, image_file), (masks, mask_file)):
            array = np.load(path, mmap_mode="r")
            file.seek(array.offset + first * array.strides[0])
        for row, patch in zip(rows, source.read(rows), strict=True):
            if isinstance(patch, DataError):
                raise patch
            if patch.content != row["content"]:
                raise DataError(
                    f"patch {row['id']}: other pixels than when it was indexed; run the index step again (snakemake "
                    "--forcerun index)"
                )
            image, mask = np.ascontiguousarray(patch.image), np.stack([*patch.classes, *patch.edges, *patch.truths])
            hashes.append(hashlib.sha256(image.tobytes() + mask.tobytes()).hexdigest())
            image_file.write(image.data)
            mask_file.write(mask.data)
    return hashes
