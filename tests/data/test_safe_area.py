"""A Sentinel-2 SAFE folder as the image of an area: through index and pack, pixels are those of rasterio's warp."""

import numpy as np
import pandas as pd
import pytest
import rasterio
import test_images
from rasterio import Affine
from region import L3
from test_images import BANDS, PLACE, UTM, warped

from cerraseg.config.areas import check_areas
from cerraseg.config.dataset import Dataset, class_values
from cerraseg.data import packed
from cerraseg.data.index import write_patch_table
from cerraseg.data.pack import pack
from cerraseg.geo.grids import Grid

SIDE = 120  # pixels of 10 m
METRES = test_images.TestSafe.METRES
CLASSES = [class_values(entry._replace(parent=None)) for entry in L3]
DATASET = Dataset.of(
    {
        "name": "tile",
        "patch_size": 32,
        "sensors": {"msi": {"bands": list(reversed(BANDS))}},
        "levels": {"crops": {"classes": CLASSES, "ignore": [0]}},
    }
)
IDS = DATASET.levels["crops"].ids


@pytest.mark.parametrize(("level", "offset"), [("L2A", -1000), ("L2A", None), ("L1C", None)])
def test_packed_pixels_are_those_of_the_warp(tmp_path, level, offset):
    safe = tmp_path / "S2B_MSIL2A_20240101T134211_N0511_R124_T22LGH.SAFE"
    pixels = test_images.TestSafe().product(safe, level, offset)
    ids = np.random.default_rng(4).choice([0, *IDS], (SIDE, SIDE)).astype(np.uint8)
    test_images.put(tmp_path / "labels.tif", ids)
    given = [{"name": "tile", "msi": str(safe), "labels": str(tmp_path / "labels.tif")}]
    areas = {area["name"]: area for area in check_areas(given, DATASET, must_exist=True)}
    table, arrays = tmp_path / "patches.parquet", [tmp_path / f"{name}.npy" for name in ("images", "masks", "header")]
    tiling = {"stride": 32, "minimum_labelled": 0.02}
    write_patch_table([], DATASET, table, tmp_path / "rejected.csv", areas=areas, tiling=tiling, threads=1)
    pack(table, DATASET, *arrays, areas=areas)

    grid = Grid(rasterio.CRS.from_string(UTM), PLACE, (SIDE, SIDE))
    whole = np.stack([of_band(pixels[band], METRES[band], grid) for band in DATASET.bands("msi")]) + np.float32(
        offset or 0
    )
    store, rows = packed.open_store(*arrays), pd.read_parquet(table)
    assert store.header.bands == tuple(reversed(BANDS)) and len(rows) == 9
    gaps = 0
    for number, (top, left) in enumerate(zip(rows["window_row"], rows["window_column"], strict=True)):
        here = (slice(top, top + 32), slice(left, left + 32))
        np.testing.assert_array_equal(store.images[number], whole[:, *here])
        empty = np.isnan(whole[:, *here]).any(0) | (ids[here] == 0)
        positions = np.searchsorted(IDS, ids[here])
        np.testing.assert_array_equal(store.masks[number, 0], np.where(empty, 255, positions))
        gaps += np.isnan(whole[:, *here]).any(0).sum()
    assert gaps >= 12 * 6  # the corner of the product without data


def of_band(stored, metres, grid):
    """A band, 0 where it has no data, on the grid of 10 m."""
    values = np.where(stored == 0, np.float32(np.nan), stored.astype(np.float32))[None]
    return values[0] if metres == 10 else warped(values, PLACE * Affine.scale(metres / 10), grid)[0]
