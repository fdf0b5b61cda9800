"""Shuffled batches of images and masks from the packed store, against the usual ways of loading them.

Usage: bench_loader.py [patches] [--torchgeo PATCHES]
Per patch 14 bands and two masks (classes and edges), by two readers in batches of 32, from the system's cache (warm)
and from disk (cold: the files are evicted first).

- geotiff: a torch DataLoader whose sample is four GeoTIFF files, opened with rasterio (images) and tifffile (masks), as
  the published loader does it; two worker processes.
- torchgeo: the intersection of TorchGeo's RasterDatasets on three of these files (a fourth breaks it in 0.8.1) under
  its RandomGeoSampler, two workers; windows of 126 pixels, as by its rounding no patch is 128 wide; fewer patches.
- copy: one plain memory copy of the same bytes, batch after batch, into an allocated buffer.
"""

import importlib.util
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from inputs import CERRADATA, PACKED, evict, open_packed, write_packed
from measuring import arguments, measured, not_measured, row

BATCH, READERS, LAYERS = 32, 2, ("l1", "edge_l1")


def packed(folder: Path, _: int):
    import torch

    from cerraseg.training.batches import PackedPatches, Streamed
    from cerraseg.training.order import EpochBatches

    store = open_packed(folder)
    patches = PackedPatches(store, np.arange(store.header.patches), CERRADATA.bands(), LAYERS)
    order = EpochBatches(len(patches), BATCH, 0)
    batches = Streamed(patches, order, torch.device("cpu"), lambda images: images, readers=READERS)
    return lambda: sum(len(masks) for _, masks in batches)


def geotiff(folder: Path, limit: int):
    batches = geotiff_batches(folder, limit, BATCH, READERS)
    return lambda: sum(len(images) for images, _ in batches)


def geotiff_batches(folder: Path, limit: int, size: int, workers: int) -> Iterable[tuple[Any, Any]]:
    """Batches of the first ``limit`` patches, again from the first where there are fewer, as the published loader."""
    import rasterio
    import torch
    from torch.utils.data import DataLoader, Dataset

    table = pd.read_parquet(folder / "patches.parquet")[["msi", "sar", *LAYERS]].to_numpy()
    paths = table[np.resize(np.arange(len(table)), limit)].tolist()

    def read(path: str) -> np.ndarray:
        with rasterio.open(path) as source:
            return source.read()

    def read_mask(path: str) -> np.ndarray:
        return read(path)[0]

    if importlib.util.find_spec("tifffile"):
        from tifffile import imread as read_mask

    class Files(Dataset):
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, place: int) -> tuple[torch.Tensor, torch.Tensor]:
            msi, sar, *masks = paths[place]
            images = np.concatenate([read(msi), read(sar)])
            masks = np.stack([read_mask(path) for path in masks]).astype(np.int64)
            return torch.from_numpy(images), torch.from_numpy(masks)

    return DataLoader(Files(), size, shuffle=True, num_workers=workers)


def torchgeo(folder: Path, limit: int):
    from torch.utils.data import DataLoader
    from torchgeo.datasets import RasterDataset, stack_samples
    from torchgeo.samplers import RandomGeoSampler

    def dataset(name: str, image: bool) -> RasterDataset:
        kind = type(name, (RasterDataset,), {"filename_glob": "*.tif", "is_image": image})
        return kind(str(folder / "cerradata_4mm" / name))

    files = dataset("msi_images", True) & dataset("sar_images", True) & dataset("semantic_7c", False)
    sampler = RandomGeoSampler(files, size=126, length=limit)
    batches = DataLoader(files, BATCH, sampler=sampler, num_workers=READERS, collate_fn=stack_samples)
    return lambda: sum(len(batch["image"]) for batch in batches)


def copy(folder: Path, _: int):
    arrays = np.load(folder / PACKED[0]), np.load(folder / PACKED[1])[:, : len(LAYERS)].copy()
    room = [np.zeros_like(part[:BATCH]) for part in arrays]

    def copy_all() -> int:
        for start in range(0, len(arrays[0]), BATCH):
            for source, target in zip(arrays, room, strict=True):
                piece = source[start : start + BATCH]
                np.copyto(target[: len(piece)], piece)
        return len(arrays[0])

    return copy_all


def rate(method, folder: Path, limit: int, turns: int = 1, cold: bool = False) -> float:
    """Patches a second of the best pass."""
    if cold:
        evict(path for path in folder.rglob("*") if path.is_file())
    run = measured(method, folder, limit, turns=turns)
    found = run.value / run.seconds
    print(f"{method.__name__:9} {'cold' if cold else 'warm'}  {found:9,.0f} patches/s   peak {run.peak:.0f} MB")
    return found


def compare(folder: Path, patches: int, of_torchgeo: int) -> None:
    tiff = "rasterio + tifffile" if importlib.util.find_spec("tifffile") else "rasterio (tifffile is not installed)"
    for cold in (True, False):
        what = f"shuffled batches of {BATCH} from {patches:,} patches, {READERS} readers, {'cold' if cold else 'warm'}"
        ours = rate(packed, folder, patches, 1 if cold else 5, cold)
        shown = f"{ours:,.0f} patches/s"
        theirs = rate(geotiff, folder, patches, cold=cold)
        peer = f"four GeoTIFFs a patch by {tiff}, {READERS} workers: {theirs:,.0f} patches/s"
        row(what, shown, peer, ours / theirs, "≥ 40")
        if importlib.util.find_spec("torchgeo"):
            theirs = rate(torchgeo, folder, min(patches, of_torchgeo), cold=cold)
            peer = f"TorchGeo's RasterDataset and sampler: {theirs:,.0f} patches/s"
            row(what, shown, peer, ours / theirs, "≥ 20")
        else:
            not_measured(what, "TorchGeo is not installed", "≥ 20")
    plain = rate(copy, folder, patches, 3)
    speed = plain * (14 * 4 + 2) * 128 * 128 / 1e9
    peer = f"plain copy of the same bytes, one thread: {plain:,.0f} patches/s ({speed:.1f} GB/s)"
    row(what, shown, peer, ours / plain, "≥ 0.7")


def main() -> None:
    options = arguments(__doc__, {"patches": 5000}, torchgeo=320)
    with tempfile.TemporaryDirectory() as folder:
        write_packed(Path(folder), options.patches)
        compare(Path(folder), options.patches, options.torchgeo)


if __name__ == "__main__":
    main()
