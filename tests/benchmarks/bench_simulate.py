"""Time the simulated landscape, start-up included, against a named peer.

Usage: python tests/benchmarks/bench_simulate.py [patches] [workers]
The peer writes the same arrays with ``rasterio.open(path, "w")``, one file at a time, and renders nothing.
"""

import sys
import tempfile
import time
from pathlib import Path

import rasterio
from reporting import row

from cerraseg.data.simulation.patches import simulate


def rewrite(folder: Path, copy: Path) -> float:
    """Write every file of ``folder`` anew under ``copy``; wall time in seconds, without reading them."""
    seconds = 0.0
    for path in sorted(folder.rglob("*.tif")):
        with rasterio.open(path) as dataset:
            pixels, bands, profile = dataset.read(), dataset.descriptions, dataset.profile
        target = copy / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        with rasterio.open(target, "w", **profile) as dataset:
            dataset.descriptions = bands
            dataset.write(pixels)
        seconds += time.perf_counter() - start
    return seconds


def main() -> None:
    patches = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    workers = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "cerradata_4mm"
        start = time.perf_counter()
        simulate(folder, patches=patches, seed=42, workers=workers)
        ours = time.perf_counter() - start
        theirs = rewrite(folder, Path(root) / "copy")
    what = f"simulated landscape, {patches:,} patches of 6 files rendered and written by {workers} processes"
    words = f'`rasterio.open(..., "w")` of the same files, writing alone: {patches / theirs:.0f} patches/s'
    row(what, f"{patches / ours:.0f} patches/s", words, theirs / ours)


if __name__ == "__main__":
    main()
