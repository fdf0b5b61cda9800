"""Time shuffled batches of (image, mask) from the packed store: ``python tests/benchmarks/bench_loader.py [patches]``.

Per patch 14 bands and two masks (classes and edges), by two readers in batches of 32, from the system's cache (warm)
and from disk (cold: the files are evicted first). Peers, each in a process of its own:

- geotiff: a torch DataLoader whose sample is four GeoTIFF files, opened with rasterio (images) and tifffile (masks), as
  the published loader does it; two worker processes.
- torchgeo: the intersection of TorchGeo's RasterDatasets on three of these files (a fourth breaks it in 0.8.1) under
  its RandomGeoSampler, two workers; windows of 126 pixels, as by its rounding no patch is 128 wide; fewer patches.
- copy: one plain memory copy of the same bytes, batch after batch, into an allocated buffer.
- disk: the arrays read once from end to end by one thread, for what a disk gives without requests side by side.
"""

import argparse
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import reporting

BATCH, READERS, LAYERS = 32, 2, ("l1", "edge_l1")


def prepare(folder: Path, patches: int) -> None:
    from cerraseg.data.index import write_patch_table
    from cerraseg.data.packed import pack
    from cerraseg.data.simulation.patches import simulate

    data, table = folder / "cerradata_4mm", folder / "patches.parquet"
    simulate(data, patches=patches, seed=42, workers=2)
    write_patch_table([data], table, folder / "rejected.csv", threads=2)
    pack(table, folder / "images.npy", folder / "masks.npy", folder / "header.json", workers=2)
    os.sync()  # what is not yet written cannot be evicted


def evict(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def packed(folder: Path, _: int) -> Callable[[], Iterator[int]]:
    import torch

    from cerraseg.data.packed import open_store
    from cerraseg.training.batches import EpochBatches, PackedPatches, Streamed

    store = open_store(*(folder / name for name in ("images.npy", "masks.npy", "header.json")))
    patches = PackedPatches(store, np.arange(store.header.patches), "concat", LAYERS)
    order = EpochBatches(len(patches), BATCH, 0)
    batches = Streamed(patches, order, torch.device("cpu"), lambda images: images, readers=READERS)
    return lambda: (len(masks) for _, masks in batches)


def geotiff(folder: Path, limit: int) -> Callable[[], Iterator[int]]:
    batches = geotiff_batches(files(folder, limit), BATCH, READERS)
    return lambda: (len(images) for images, _ in batches)


def files(folder: Path, limit: int) -> list[list[str]]:
    """Paths of the first ``limit`` patches, again from the first where there are fewer: msi, sar, classes, edges."""
    paths = pd.read_parquet(folder / "patches.parquet")[["msi", "sar", *LAYERS]].to_numpy()
    return paths[np.resize(np.arange(len(paths)), limit)].tolist()


def geotiff_batches(paths: list[list[str]], size: int, workers: int) -> Iterable[tuple[Any, Any]]:
    """Batches as the published loader makes them: images float32 and masks int64."""
    import rasterio
    import torch
    from torch.utils.data import DataLoader, Dataset

    read_mask = _mask_reader()

    class Files(Dataset):
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, place: int) -> tuple[torch.Tensor, torch.Tensor]:
            images = []
            for path in paths[place][:2]:
                with rasterio.open(path) as source:
                    images.append(source.read())
            masks = [read_mask(path) for path in paths[place][2:]]
            return torch.from_numpy(np.concatenate(images)), torch.from_numpy(np.stack(masks).astype(np.int64))

    return DataLoader(Files(), size, shuffle=True, num_workers=workers)


def _mask_reader():
    if importlib.util.find_spec("tifffile"):
        import tifffile

        return tifffile.imread
    import rasterio

    def read(path: str) -> np.ndarray:
        with rasterio.open(path) as source:
            return source.read(1)

    return read


def torchgeo(folder: Path, limit: int) -> Callable[[], Iterator[int]]:
    from torch.utils.data import DataLoader
    from torchgeo.datasets import RasterDataset, stack_samples
    from torchgeo.samplers import RandomGeoSampler

    def dataset(name: str, image: bool) -> RasterDataset:
        kind = type(name, (RasterDataset,), {"filename_glob": "*.tif", "is_image": image})
        return kind(str(folder / "cerradata_4mm" / name))

    files = dataset("msi_images", True) & dataset("sar_images", True) & dataset("semantic_7c", False)
    sampler = RandomGeoSampler(files, size=126, length=limit)
    batches = DataLoader(files, BATCH, sampler=sampler, num_workers=READERS, collate_fn=stack_samples)
    return lambda: (len(batch["image"]) for batch in batches)


def copy(folder: Path, _: int) -> Callable[[], Iterator[int]]:
    images, masks = np.load(folder / "images.npy"), np.load(folder / "masks.npy")[:, :2].copy()
    room = [np.zeros_like(part[:BATCH]) for part in (images, masks)]

    def batches() -> Iterator[int]:
        for start in range(0, len(images), BATCH):
            for source, target in zip((images, masks), room, strict=True):
                piece = source[start : start + BATCH]
                np.copyto(target[: len(piece)], piece)
            yield len(piece)

    return batches


def disk(folder: Path, _: int) -> Callable[[], Iterator[int]]:
    count, room = len(np.load(folder / "images.npy", mmap_mode="r")), bytearray(1 << 23)

    def pieces() -> Iterator[int]:
        for name in ("images.npy", "masks.npy"):
            with (folder / name).open("rb", buffering=0) as file:
                while file.readinto(room):
                    pass
        yield count

    return pieces


METHODS = {"packed": packed, "geotiff": geotiff, "torchgeo": torchgeo, "copy": copy, "disk": disk}
"""Each imports and opens what it needs, and returns what makes a pass: the patches of one batch after the other."""


def child(name: str, folder: Path, limit: int, passes: int) -> None:
    """Patches a second of each pass, from the first batch's request to the last batch's arrival."""
    rates = []
    batches = METHODS[name](folder, limit)
    for _ in range(passes):
        start = time.perf_counter()
        rates.append(sum(batches()) / (time.perf_counter() - start))
    reporting.result(rates=rates)


def measure(name: str, folder: Path, limit: int, passes: int = 1, cold: bool = False) -> float:
    if cold:
        evict(folder)
    arguments = ("--run", name, "--folder", str(folder), "--limit", str(limit), "--passes", str(passes))
    found = reporting.measured(__file__, *arguments)
    rate = max(found["rates"])
    state = "cold" if cold else "warm"
    print(f"{name:9} {state}  {rate:9,.0f} patches/s   peak {found['peak']:.0f} MB", flush=True)
    return float(rate)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patches", type=int, nargs="?", default=5000)
    parser.add_argument("--torchgeo", type=int, default=320, help="patches that TorchGeo reads")
    parser.add_argument("--folder", type=Path, help="where prepared data lies, or is to be prepared and kept")
    parser.add_argument("--run", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--limit", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--passes", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        return child(arguments.run, arguments.folder, arguments.limit, arguments.passes)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        if not (folder / "header.json").exists():
            prepare(folder, arguments.patches)
        compare(folder, arguments.patches, arguments.torchgeo)


def compare(folder: Path, patches: int, of_torchgeo: int) -> None:
    what = f"shuffled batches of {BATCH} from {patches:,} patches, {READERS} readers"
    tiff = "rasterio + tifffile" if importlib.util.find_spec("tifffile") else "rasterio (tifffile is not installed)"
    for cold in (True, False):
        state = "cold" if cold else "warm"
        ours = measure("packed", folder, patches, 1 if cold else 5, cold)
        peers = {"geotiff": (patches, f"four GeoTIFFs a patch by {tiff}, {READERS} workers", "≥ 40")}
        if importlib.util.find_spec("torchgeo"):
            peers["torchgeo"] = (min(patches, of_torchgeo), "TorchGeo's RasterDataset and sampler", "≥ 20")
        else:
            print(f"TorchGeo is not installed in {sys.prefix}")
        for name, (count, said, reach) in peers.items():
            theirs = measure(name, folder, count, cold=cold)
            shown = f"{said}: {theirs:,.0f} patches/s"
            reporting.row(f"{what}, {state}", f"{ours:,.0f} patches/s", shown, ours / theirs, reach)
        if cold:
            plain = measure("disk", folder, patches, cold=True)
            shown = f"both arrays read from end to end from disk: {plain:,.0f} patches/s"
            reporting.row(f"{what}, cold", f"{ours:,.0f} patches/s", shown, ours / plain)
    plain = measure("copy", folder, patches, 3)
    megabytes = (14 * 4 + 2) * 128 * 128 / 1e6
    shown = f"plain copy of the same bytes, one thread: {plain:,.0f} patches/s ({plain * megabytes / 1e3:.1f} GB/s)"
    reporting.row(f"{what}, warm", f"{ours:,.0f} patches/s", shown, ours / plain, "≥ 0.7")


if __name__ == "__main__":
    main()
