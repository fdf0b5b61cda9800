"""Time the mosaic against its peers on the same simulated patches.

    PYTHONPATH=. python tests/benchmarks/bench_mosaic.py [--patches N] [--side PIXELS] [--large N]

Peers: ``rasterio.merge`` to a tiled, compressed GeoTIFF (no overviews, so it does less), and where GDAL's commands are
installed ``gdalbuildvrt`` + ``gdal_translate -of COG``. Each runs in its own process; the peers read one GeoTIFF a
patch, as a prediction leaves them, the mosaic one memory-mapped array. All maps must be equal. ``--large`` patches of
twice the side are put together by the mosaic alone, to show that memory does not grow.
"""

import argparse
import importlib
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rasterio
from reporting import not_installed, result, row
from sampling import measured_memory

CRS, ORIGIN, PIXEL = "EPSG:32722", (500_000.0, 8_000_000.0), 10.0
COG = {"COMPRESS": "DEFLATE", "PREDICTOR": "NO", "OVERVIEW_RESAMPLING": "MODE", "NUM_THREADS": "ALL_CPUS"}
PEERS = {
    "merge": ("`rasterio.merge`, no overviews", 10),
    "gdal": ("`gdalbuildvrt` + `gdal_translate -of COG`", 5),
}
"""Peer → what it is, and how many times as fast the mosaic shall be."""


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
    from cerraseg.core.taxonomy import LEVELS
    from cerraseg.mapping.mosaic import mosaic

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
    """Run one method; its seconds."""
    importlib.import_module({"mosaic": "cerraseg.mapping.mosaic"}.get(name, "rasterio.merge"))
    start = time.perf_counter()
    path = RUNS[name](folder)
    result(path=str(path), seconds=time.perf_counter() - start)


def measure(name: str, folder: Path) -> tuple[dict[str, Any], str]:
    """What a method took, also in words; memory without the pages of mapped files."""
    found = measured_memory(__file__, "--run", name, "--folder", str(folder))
    words = f"{found['seconds']:.1f} s, {found['anonymous']:.0f} MB"
    print(f"{name:8} {words}", flush=True)
    return found, words


def equal(first: str, second: str) -> bool:
    with rasterio.open(first) as one, rasterio.open(second) as two:
        windows = (window for _, window in one.block_windows(1))
        return one.shape == two.shape and all(
            np.array_equal(one.read(1, window=w), two.read(1, window=w)) for w in windows
        )


def million(patches: int, side: int) -> str:
    """All their pixels in words."""
    return f"{patches * side**2 / 1e6:,.0f} million"


def compare(patches: int, side: int) -> None:
    """The mosaic, then its peers on the same patches."""
    what = f"mosaic of {patches:,} patches of {side} × {side} to a Cloud-Optimized GeoTIFF"
    with tempfile.TemporaryDirectory() as name:
        simulate(Path(name), patches, side, files=True)
        ours, words = measure("mosaic", Path(name))
        for peer, (label, reach) in PEERS.items():
            if peer == "gdal" and not shutil.which("gdalbuildvrt"):
                not_installed(what, "gdalbuildvrt", f"≥ {reach}")
                continue
            theirs, their_words = measure(peer, Path(name))
            assert equal(ours["path"], theirs["path"]), f"the maps of mosaic and {peer} differ"
            row(what, words, f"{label}: {their_words}", theirs["seconds"] / ours["seconds"], f"≥ {reach}")
        row(f"memory of that mosaic, {million(patches, side)} pixels, MB", words, "", ours["anonymous"], "≤ 300")


def alone(patches: int, side: int) -> None:
    """The mosaic without peers."""
    with tempfile.TemporaryDirectory() as name:
        simulate(Path(name), patches, side, files=False)
        ours, words = measure("mosaic", Path(name))
    what = f"memory of a mosaic of {patches:,} patches of {side} × {side}, {million(patches, side)} pixels, MB"
    row(what, words, "", ours["anonymous"], "≤ 300")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=int, default=2500)
    parser.add_argument("--side", type=int, default=100, help="pixels")
    parser.add_argument("--large", type=int, default=0, help="patches of twice the side, by the mosaic alone")
    parser.add_argument("--run", choices=RUNS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        return child(arguments.run, arguments.folder)
    compare(arguments.patches, arguments.side)
    if arguments.large:
        alone(arguments.large, 2 * arguments.side)


if __name__ == "__main__":
    main()
