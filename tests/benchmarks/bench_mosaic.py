"""Time the mosaic against its peers on the same simulated patches: ``python tests/benchmarks/bench_mosaic.py``.

Peers: ``rasterio.merge`` to a tiled, compressed GeoTIFF (no overviews, so it does less), and where GDAL's commands are
installed ``gdalbuildvrt`` + ``gdal_translate -of COG``. Each runs in its own process; the peers read one GeoTIFF a
patch, as a prediction leaves them, the mosaic one memory-mapped array. All maps must be equal.
"""

import argparse
import importlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio

ROOT = Path(__file__).resolve().parents[2]
CRS, ORIGIN, PIXEL = "EPSG:32722", (500_000.0, 8_000_000.0), 10.0
COG = {"COMPRESS": "DEFLATE", "PREDICTOR": "NO", "OVERVIEW_RESAMPLING": "MODE", "NUM_THREADS": "ALL_CPUS"}


def simulate(folder: Path, count: int, side: int, files: bool) -> None:
    """Write ``tiles.npy`` and ``patches.csv``, and the patches as GeoTIFFs: fields of 16 pixels with 3 % noise."""
    random, across = np.random.default_rng(0), int(np.ceil(np.sqrt(count)))
    tiles = np.lib.format.open_memmap(folder / "tiles.npy", "w+", np.uint8, (count, side, side))
    rows = []
    (folder / "patches").mkdir()
    for i in range(count):
        fields = random.integers(0, 7, (side // 16 + 1,) * 2, dtype=np.uint8)
        tile = np.kron(fields, np.ones((16, 16), np.uint8))[:side, :side]
        tile = np.where(random.random(tile.shape) < 0.03, random.integers(0, 7, tile.shape, dtype=np.uint8), tile)
        tiles[i] = tile
        x, y = ORIGIN[0] + i % across * side * PIXEL, ORIGIN[1] - i // across * side * PIXEL
        transform = rasterio.Affine(PIXEL, 0, x, 0, -PIXEL, y)
        rows.append((f"{i:06d}", CRS, *transform[:6]))
        if files:
            options = {"driver": "GTiff", "width": side, "height": side, "count": 1, "dtype": "uint8", "nodata": 255}
            with rasterio.open(
                folder / "patches" / f"{i:06d}.tif", "w", crs=CRS, transform=transform, **options
            ) as patch:
                patch.write(tile, 1)
    tiles.flush()
    pd.DataFrame(rows, columns=["id", "crs", *"abcdef"]).to_csv(folder / "patches.csv", index=False)


def run_mosaic(folder: Path) -> Path:
    from cerraseg.mosaic import mosaic
    from cerraseg.taxonomy import LEVELS

    tiles = np.load(folder / "tiles.npy", mmap_mode="r")
    patches = pd.read_csv(folder / "patches.csv", dtype={"id": str})
    return mosaic(patches, tiles, folder, name="mosaic", classes=LEVELS["l1"])[0]


def run_merge(folder: Path) -> Path:
    from rasterio.merge import merge

    options = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "num_threads": "ALL_CPUS"}
    merge(sorted((folder / "patches").iterdir()), dst_path=folder / "merge.tif", dst_kwds=options)
    return folder / "merge.tif"


def run_gdal(folder: Path) -> Path:
    names = folder / "names.txt"
    names.write_text("\n".join(str(path) for path in sorted((folder / "patches").iterdir())))
    build = ["gdalbuildvrt", "-q", "-input_file_list", str(names), str(folder / "gdal.vrt")]
    options = [word for key, value in COG.items() for word in ("-co", f"{key}={value}")]
    translate = ["gdal_translate", "-q", "-of", "COG", *options, str(folder / "gdal.vrt"), str(folder / "gdal.tif")]
    subprocess.run(build, check=True)
    subprocess.run(translate, check=True)
    return folder / "gdal.tif"


RUNS = {"mosaic": run_mosaic, "merge": run_merge, "gdal": run_gdal}


def child(name: str, folder: Path) -> None:
    """Run one method and print its seconds, its peak memory in MB and that of the process before it began."""
    importlib.import_module({"mosaic": "cerraseg.mosaic"}.get(name, "rasterio.merge"))
    before, start = peak_memory(), time.perf_counter()
    path = RUNS[name](folder)
    seconds = time.perf_counter() - start
    print(json.dumps({"path": str(path), "seconds": seconds, "peak": peak_memory(), "before": before}))


def peak_memory() -> float:
    """Largest resident memory in MB of this process or a child of its own."""
    status = Path("/proc/self/status").read_text()
    # Linux hands getrusage's own peak down through exec, so that it would show the parent's.
    own = int(status.partition("VmHWM:")[2].split()[0])
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024


def measure(name: str, folder: Path) -> dict[str, float | str]:
    command = [sys.executable, __file__, "--run", name, "--folder", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    out = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    result: dict[str, float | str] = json.loads(out.splitlines()[-1])
    seconds, peak, before = result["seconds"], result["peak"], result["before"]
    print(f"{name:8} {seconds:8.2f} s   peak {peak:6.0f} MB ({before:.0f} MB before it began)", flush=True)
    return result


def equal(first: str, second: str) -> bool:
    with rasterio.open(first) as one, rasterio.open(second) as two:
        windows = (window for _, window in one.block_windows(1))
        return one.shape == two.shape and all(
            np.array_equal(one.read(1, window=w), two.read(1, window=w)) for w in windows
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patches", type=int, default=2500)
    parser.add_argument("--side", type=int, default=128, help="pixels")
    parser.add_argument("--peers", nargs="*", choices=("merge", "gdal"), default=["merge", "gdal"])
    parser.add_argument("--run", choices=RUNS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        return child(arguments.run, arguments.folder)
    peers = [peer for peer in arguments.peers if peer != "gdal" or shutil.which("gdalbuildvrt")]
    with tempfile.TemporaryDirectory() as name:
        simulate(Path(name), arguments.patches, arguments.side, files=bool(peers))
        print(f"{arguments.patches} patches of {arguments.side} x {arguments.side} pixels")
        ours = measure("mosaic", Path(name))
        for peer in peers:
            theirs = measure(peer, Path(name))
            same = "equal" if equal(str(ours["path"]), str(theirs["path"])) else "DIFFERENT"
            ratio = float(theirs["seconds"]) / float(ours["seconds"])
            print(f"         mosaic is {ratio:.1f} times as fast as {peer}; the maps are {same}")


if __name__ == "__main__":
    main()
