"""The mosaic against its peers on the same simulated patches.

Usage: bench_mosaic.py [--patches N] [--side PIXELS] [--large N]
Peers: ``rasterio.merge`` to a tiled, compressed GeoTIFF (no overviews, so it does less), and where GDAL's commands are
installed ``gdalbuildvrt`` + ``gdal_translate -of COG``. They read one GeoTIFF a patch, as a prediction can leave them,
the mosaic one memory-mapped array. All maps must be equal. ``--large`` patches of twice the side are put together by
the mosaic alone, to show that memory does not grow.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from inputs import CERRADATA
from measuring import Run, arguments, measured, not_measured, row

PIXEL = 10.0  # m
CLASSES = CERRADATA.classes("l1")
COG = {"COMPRESS": "DEFLATE", "PREDICTOR": "NO", "OVERVIEW_RESAMPLING": "MODE", "NUM_THREADS": "ALL_CPUS"}


def simulate(folder: Path, count: int, side: int, files: bool) -> None:
    """Write ``tiles.npy`` and ``patches.csv``, and the patches as GeoTIFFs: fields of 16 pixels with 3 % noise."""
    random, across = np.random.default_rng(0), int(np.ceil(np.sqrt(count)))
    tiles = np.lib.format.open_memmap(folder / "tiles.npy", "w+", np.uint8, (count, side, side))
    profile = {"driver": "GTiff", "width": side, "height": side, "count": 1, "dtype": "uint8", "nodata": 255}
    profile["crs"] = "EPSG:32722"
    rows = []
    (folder / "patches").mkdir()
    for i in range(count):
        fields = random.integers(0, 7, (side // 16 + 1,) * 2, dtype=np.uint8)
        tile = np.kron(fields, np.ones((16, 16), np.uint8))[:side, :side]
        tile = np.where(random.random(tile.shape) < 0.03, random.integers(0, 7, tile.shape, dtype=np.uint8), tile)
        tiles[i] = tile
        x, y = 500_000 + i % across * side * PIXEL, 8_000_000 - i // across * side * PIXEL
        transform = rasterio.Affine(PIXEL, 0, x, 0, -PIXEL, y)
        rows.append((f"{i:06d}", profile["crs"], *transform[:6]))
        if files:
            with rasterio.open(folder / f"patches/{i:06d}.tif", "w", transform=transform, **profile) as patch:
                patch.write(tile, 1)
    tiles.flush()
    pd.DataFrame(rows, columns=["id", "crs", *"abcdef"]).to_csv(folder / "patches.csv", index=False)


def ours(folder: Path):
    from cerraseg.mapping.mosaic import mosaic

    patches, tiles = pd.read_csv(folder / "patches.csv", dtype={"id": str}), folder / "tiles.npy"
    return lambda: mosaic(patches, np.load(tiles, mmap_mode="r"), folder, name="mosaic", classes=CLASSES)[0]


def merge(folder: Path):
    from rasterio.merge import merge

    files, path = sorted((folder / "patches").iterdir()), folder / "merge.tif"
    options = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "num_threads": "ALL_CPUS"}
    return lambda: merge(files, dst_path=path, dst_kwds=options) or path


def gdal(folder: Path):
    names, virtual, path = folder / "names.txt", folder / "gdal.vrt", folder / "gdal.tif"
    names.write_text("\n".join(str(path) for path in sorted((folder / "patches").iterdir())))
    options = [word for key, value in COG.items() for word in ("-co", f"{key}={value}")]

    def run() -> Path:
        subprocess.run(["gdalbuildvrt", "-q", "-input_file_list", names, virtual], check=True)
        subprocess.run(["gdal_translate", "-q", "-of", "COG", *options, virtual, path], check=True)
        return path

    return run


def words(run: Run) -> str:
    return f"{run.seconds:.1f} s, {run.own:.0f} MB"


def equal(first: Path, second: Path) -> bool:
    with rasterio.open(first) as one, rasterio.open(second) as two:
        windows = (window for _, window in one.block_windows(1))
        return one.shape == two.shape and all(
            np.array_equal(one.read(1, window=w), two.read(1, window=w)) for w in windows
        )


def compare(patches: int, side: int) -> None:
    """The mosaic, then its peers on the same patches."""
    what = f"mosaic of {patches:,} patches of {side} × {side} to a Cloud-Optimized GeoTIFF"
    with tempfile.TemporaryDirectory() as name:
        simulate(Path(name), patches, side, files=True)
        mine = measured(ours, Path(name))
        for peer, label, reach in (
            (merge, "`rasterio.merge`, no overviews", 10),
            (gdal, "`gdalbuildvrt` + `gdal_translate -of COG`", 5),
        ):
            if peer is gdal and not shutil.which("gdalbuildvrt"):
                not_measured(what, "gdalbuildvrt is not installed", f"≥ {reach}")
                continue
            theirs = measured(peer, Path(name))
            assert equal(mine.value, theirs.value), f"the maps of ours and {label} differ"
            row(what, words(mine), f"{label}: {words(theirs)}", theirs.seconds / mine.seconds, f"≥ {reach}")
    millions = patches * side**2 / 1e6
    row(f"memory of that mosaic, {millions:,.0f} million pixels, MB", words(mine), "", mine.own, "≤ 300")


def alone(patches: int, side: int) -> None:
    """The mosaic without peers."""
    with tempfile.TemporaryDirectory() as name:
        simulate(Path(name), patches, side, files=False)
        mine = measured(ours, Path(name))
    millions = patches * side**2 / 1e6
    what = f"memory of a mosaic of {patches:,} patches of {side} × {side}, {millions:,.0f} million pixels, MB"
    row(what, words(mine), "", mine.own, "≤ 300")


def main() -> None:
    options = arguments(__doc__, patches=2500, side=100, large=0)
    compare(options.patches, options.side)
    if options.large:
        alone(options.large, 2 * options.side)


if __name__ == "__main__":
    main()
