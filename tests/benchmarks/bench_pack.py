"""Index and pack of simulated patches against reading the same files once with rasterio.

Usage: bench_pack.py [patches] [workers] [turns]
The peer reads every file once, ``rasterio.open(path).read()`` with default settings in one thread, and keeps nothing.
The methods take turns, and the best of each counts. ``ratio`` is ours over the peer's; memory is that of all processes.
"""

import tempfile
from pathlib import Path

import rasterio
from inputs import CERRADATA, PACKED, write_patches
from measuring import Run, arguments, measured, row

from cerraseg.data import index
from cerraseg.data import pack as packing


def read(root: Path, _: int):
    def read_files() -> None:
        for path in sorted((root / "cerradata_4mm").rglob("*.tif")):
            with rasterio.open(path) as source:
                source.read()

    return read_files


def index_patches(root: Path, workers: int):
    files = root / "patches.parquet", root / "rejected.csv"
    return lambda: index.write_patch_table([root / "cerradata_4mm"], CERRADATA, *files, threads=workers)


def pack(root: Path, workers: int):
    arrays = [root / name for name in PACKED]
    for path in arrays:
        path.unlink(missing_ok=True)
    return lambda: packing.pack(root / "patches.parquet", CERRADATA, *arrays, workers=workers)


METHODS = {"read": read, "index": index_patches, "pack": pack}


def main() -> None:
    options = arguments(__doc__, {"patches": 5000, "workers": 2, "turns": 2})
    runs: dict[str, list[Run]] = {name: [] for name in METHODS}
    with tempfile.TemporaryDirectory() as folder:
        write_patches(Path(folder, "cerradata_4mm"), options.patches)
        for _ in range(options.turns):
            for name, method in METHODS.items():
                runs[name].append(measured(method, Path(folder), options.workers))
    best = {name: min(found, key=lambda run: run.seconds) for name, found in runs.items()}
    peer = f"`rasterio`, files read once, one thread: {best['read'].seconds:.3g} s"
    for name, reach in (("index", ""), ("pack", "≤ 0.6")):
        what = f"{name} {options.patches:,} patches, {options.workers} workers (ours over theirs)"
        ours = f"{best[name].seconds:.3g} s, {best[name].own:.0f} MB"
        row(what, ours, peer, best[name].seconds / best["read"].seconds, reach)


if __name__ == "__main__":
    main()
