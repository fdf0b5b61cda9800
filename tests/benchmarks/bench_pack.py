"""Time index and pack of simulated patches against reading the same files once with rasterio.

Usage: python tests/benchmarks/bench_pack.py [patches] [workers] [turns]
The peer reads every file once, ``rasterio.open(path).read()`` with default settings in one thread, and keeps nothing.
Each run has a process of its own; they take turns, and the best of each counts. ``ratio`` is ours over the peer's.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from reporting import result, row
from sampling import measured_memory

from cerraseg.data import index
from cerraseg.data import packed as store
from cerraseg.data.simulation.patches import simulate

FILES = ("msi", "sar", "l1", "l2", "edge_l1", "edge_l2")


def read_files(root: Path) -> None:
    for path in sorted((root / "cerradata_4mm").rglob("*.tif")):
        with rasterio.open(path) as source:
            source.read()


def run_index(root: Path, workers: int) -> None:
    index.write_patch_table([root / "cerradata_4mm"], root / "patches.parquet", root / "rejected.csv", threads=workers)


def run_pack(root: Path, workers: int) -> None:
    store.pack(root / "patches.parquet", *arrays(root), workers=workers)


def arrays(root: Path) -> tuple[Path, Path, Path]:
    return root / "images.npy", root / "masks.npy", root / "header.json"


def timed(what: str, root: Path, workers: int) -> None:
    start = time.perf_counter()
    if what == "read":
        read_files(root)
    else:
        {"index": run_index, "pack": run_pack}[what](root, workers)
    result(seconds=time.perf_counter() - start)


def check(root: Path) -> None:
    """Some of the patches, spread over the table, are what rasterio reads."""
    table, packed = pd.read_parquet(root / "patches.parquet"), store.open_store(*arrays(root))
    for place in np.linspace(0, len(table) - 1, 20).astype(int):
        layers = []
        for layer in FILES:
            with rasterio.open(table[layer].iloc[place]) as source:
                layers.append(source.read())
        assert np.array_equal(packed.images[place], np.concatenate(layers[:2]))
        assert np.array_equal(packed.masks[place], np.concatenate(layers[2:]))


def main() -> None:
    count, workers, turns = (int(given) for given in [*sys.argv[1:], *("5000", "2", "2")[len(sys.argv) - 1 :]])
    best: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        simulate(root / "cerradata_4mm", patches=count, seed=42, workers=workers)
        for turn in range(turns):
            for what in ("read", "index", "pack"):
                for path in arrays(root) if what == "pack" else ():
                    path.unlink(missing_ok=True)
                found = measured_memory(__file__, "--run", what, folder, str(workers))
                print(f"turn {turn + 1}: {what:<6} {found['seconds']:7.2f} s, {found['anonymous']:5.0f} MB anonymous")
                best[what] = min(found, best.get(what, found), key=lambda run: run["seconds"])
        check(root)
    peer = f"`rasterio`, files read once, one thread: {best['read']['seconds']:.3g} s"
    print("ratio: our time over the peer's; memory: anonymous, all processes")
    for what, reach in (("index", ""), ("pack", "≤ 0.6")):
        seconds = best[what]["seconds"]
        ours = f"{seconds:.3g} s, {best[what]['anonymous']:.0f} MB"
        name = f"{what} {count:,} patches, {workers} workers (ours over theirs)"
        row(name, ours, peer, seconds / best["read"]["seconds"], reach)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        timed(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
    else:
        main()
