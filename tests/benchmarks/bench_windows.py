"""Index and pack of windows of one large raster against the same windows cut to files.

Usage: bench_windows.py [--side PIXELS] [--size PIXELS] [--bands N] [--workers N]
A tiled raster of N bands (uint16) and one of labels are written; one method takes their windows as patches, the other
cuts each window to two GeoTIFFs by rasterio, in one thread, and indexes and packs these. The packed arrays are equal.
``ratio`` is the time of the cut files over ours; memory is that of all processes.
"""

import tempfile
from itertools import product
from pathlib import Path

import numpy as np
import rasterio
from inputs import PACKED
from measuring import Run, arguments, measured, row
from rasterio.transform import from_origin
from rasterio.windows import Window

from cerraseg.config.areas import check_areas
from cerraseg.config.dataset import Dataset
from cerraseg.data import index
from cerraseg.data.pack import pack

CORNER = from_origin(600000, 8300000, 10, 10)


def dataset(size: int, bands: int) -> Dataset:
    names = [f"B{number:02}" for number in range(1, bands + 1)]
    level = {"classes": [{"id": 3}, {"id": 15}, {"id": 24}], "folders": ["masks"]}
    return Dataset.of(
        {"name": "windows", "patch_size": size, "sensors": {"msi": {"bands": names, "folders": ["images"]}},
         "levels": {"l1": level}}
    )  # fmt: skip


def write_rasters(folder: Path, side: int, bands: int) -> None:
    rng = np.random.default_rng(0)
    common = {"driver": "GTiff", "height": side, "width": side, "crs": "EPSG:32722", "transform": CORNER}
    common |= {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "bigtiff": "IF_SAFER"}
    with rasterio.open(folder / "image.tif", "w", count=bands, dtype="uint16", **common) as file:
        for _, window in file.block_windows(1):
            file.write(rng.integers(0, 4000, (bands, window.height, window.width), "uint16"), window=window)
    with rasterio.open(folder / "labels.tif", "w", count=1, dtype="uint8", **common) as file:
        for _, window in file.block_windows(1):
            file.write(rng.choice(np.array([3, 15, 24], "uint8"), (1, window.height, window.width)), window=window)


def cut(folder: Path, side: int, size: int):
    def cut_files() -> None:
        for name, target in (("image", "images"), ("labels", "masks")):
            (folder / target).mkdir()
            with rasterio.open(folder / f"{name}.tif") as source:
                starts = range(0, side - size + 1, size)
                for number, (top, left) in enumerate(product(starts, starts)):
                    window = Window(left, top, size, size)
                    profile = {"driver": "GTiff", "height": size, "width": size, "count": source.count}
                    place = {"crs": source.crs, "transform": source.window_transform(window)}
                    path = folder / target / f"{name}_{number:06}.tif"
                    with rasterio.open(path, "w", dtype=source.dtypes[0], **profile, **place) as file:
                        file.write(source.read(window=window))

    return cut_files


def run_index(folder: Path, table: str, size: int, bands: int, workers: int):
    described = dataset(size, bands)
    options = {} if table == "files" else {"areas": areas(folder, described), "tiling": {"stride": size}}
    roots = [folder] if table == "files" else []
    paths = folder / f"{table}.parquet", folder / f"{table}.csv"
    return lambda: index.write_patch_table(roots, described, *paths, threads=workers, **options)


def run_pack(folder: Path, table: str, size: int, bands: int, workers: int):
    described = dataset(size, bands)
    (folder / table).mkdir()
    arrays = [folder / table / name for name in PACKED]
    known = None if table == "files" else areas(folder, described)
    return lambda: pack(folder / f"{table}.parquet", described, *arrays, areas=known, workers=workers)


def areas(folder: Path, described: Dataset):
    entry = {"name": "all", "msi": str(folder / "image.tif"), "labels": str(folder / "labels.tif")}
    return {area["name"]: area for area in check_areas([entry], described, must_exist=True)}


def main() -> None:
    options = arguments(__doc__, side=10980, size=64, bands=4, workers=2)
    given = options.size, options.bands, options.workers
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rasters(folder, options.side, options.bands)
        runs: dict[str, Run] = {"cut": measured(cut, folder, options.side, options.size)}
        for table in ("files", "windows"):
            runs[f"index {table}"] = measured(run_index, folder, table, *given)
            runs[f"pack {table}"] = measured(run_pack, folder, table, *given)
        for array in PACKED[:2]:
            assert np.array_equal(*(np.load(folder / table / array, mmap_mode="r") for table in ("files", "windows")))
        count = (options.side // options.size) ** 2
    for step in ("index", "pack"):
        ours, theirs = runs[f"{step} windows"], runs[f"{step} files"]
        what = f"{step} {count:,} windows of {options.size} pixels, {options.bands} bands, of one raster"
        against = (
            f"the same, cut to files before in {runs['cut'].seconds:.0f} s: {theirs.seconds:.1f} s, {theirs.own:.0f} MB"
        )
        row(what, f"{ours.seconds:.1f} s, {ours.own:.0f} MB", against, theirs.seconds / ours.seconds)


if __name__ == "__main__":
    main()
