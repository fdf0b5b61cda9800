"""Windows of rasters are the patches that the same pixels cut to files would be: equal packed arrays."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyogrio
import pytest
import rasterio
import shapely
from conftest import arrays, opened
from rasterio.features import rasterize
from rasterio.transform import Affine, from_origin
from rasterio.warp import Resampling, reproject
from region import IDS, REGION
from scenes import UTM, write_raster

from cerraseg.config.dataset import Dataset
from cerraseg.core.errors import DataError
from cerraseg.data.area_windows import Source, area_rows, open_area
from cerraseg.data.index import write_patch_table
from cerraseg.data.masks import derive_edges
from cerraseg.data.pack import pack

GRID = from_origin(600000, 8300000, 10, 10)
COARSE = from_origin(599905, 8300095, 30, 30)
HEIGHT, WIDTH = 150, 220  # 2 rows of 3 windows of 64, and a rest
MSI, DEM = REGION.sensors["msi"].bands, REGION.sensors["dem"].bands
NAMES = {"Soy": 24, "Maize": 33, "forest": 3}  # values of the field "crop"
VALUES = REGION.as_dict()
FOLDERS = {"msi": "msi", "dem": "dem", "l1": "m1", "l2": "m2", "l3": "m3"}
for part in (*VALUES["sensors"].items(), *VALUES["levels"].items()):
    part[1]["folders"] = [FOLDERS[part[0]]] if part[0] in FOLDERS else []
CUT = Dataset.of(VALUES)
"""The region with folders of patches."""


def image(file, **further):
    return {"files": [str(file)], "bands": [], "nodata": None, "mask": None} | further


@pytest.fixture
def land(tmp_path):
    """An optical image with bands in another order and gaps, a DEM on another grid, polygons: entry and rasters."""
    rng = np.random.default_rng(0)
    msi = rng.uniform(100, 3000, (4, HEIGHT, WIDTH)).astype(np.float32)
    msi[2, 30:40, 60:90] = -9999
    order = [2, 0, 3, 1]
    write_raster(tmp_path / "msi.tif", msi[order], tuple(MSI[k] for k in order), transform=GRID, nodata=-9999)
    dem = rng.uniform(0, 500, (1, 70, 90)).astype(np.float32)
    write_raster(tmp_path / "dem.tif", dem, DEM, transform=COARSE)
    corners = [(5, 5), (70, 10), (100, 70), (10, 100), (58, 40), (150, 20), (25, 8)]  # the fifth lies in two windows
    shapes = [shapely.box(*(GRID * (x, y + 15)), *(GRID * (x + 20, y))) for x, y in corners]
    crops = ["Soy", "Maize", "forest", "Maize", "Soy", "Soy", "Maize"]
    pyogrio.raw.write(
        tmp_path / "fields.gpkg", geometry=shapely.to_wkb(np.array(shapes, object)), field_data=[np.array(crops)],
        fields=["crop"], geometry_type="Polygon", crs=UTM,
    )  # fmt: skip
    positions = [IDS.index(NAMES[crop]) for crop in crops]
    mask = rasterize(zip(shapes, positions, strict=True), (HEIGHT, WIDTH), fill=255, transform=GRID, dtype="uint8")
    labels = {"file": str(tmp_path / "fields.gpkg"), "layer": None, "field": "crop", "classes": NAMES}
    entry = {
        "name": "north",
        "images": {"msi": image(tmp_path / "msi.tif"), "dem": image(tmp_path / "dem.tif")},
        "labels": {"l3": labels},
    }
    warped = np.full((1, HEIGHT, WIDTH), np.nan, np.float32)
    crs = rasterio.crs.CRS.from_user_input(UTM)
    places = {"src_transform": COARSE, "src_crs": crs, "dst_transform": GRID, "dst_crs": crs}
    reproject(dem, warped, **places, resampling=Resampling.bilinear)
    return entry, np.concatenate([np.where(msi == -9999, np.nan, msi), warped]), mask


def packed(folder, dataset, roots=(), **options):
    """The patch table, and the packed images and masks."""
    folder.mkdir()
    areas = options.get("areas")
    write_patch_table(roots, dataset, folder / "patches.parquet", folder / "rejected.csv", **options)
    pack(folder / "patches.parquet", dataset, *arrays(folder), areas=areas)
    return pd.read_parquet(folder / "patches.parquet"), *(np.load(file) for file in arrays(folder)[:2])


def tiling(stride=64, least=0.0):
    return {"stride": stride, "minimum_labelled": least}


def test_windows_begin_at_multiples_of_the_stride_and_end_inside(land):
    entry, *_ = land
    rows, *_ = area_rows({"north": entry}, REGION, 43)
    places = [(row, column) for row in (0, 43, 86) for column in (0, 43, 86, 129)]
    assert [(row["window_row"], row["window_column"]) for row in rows] == places
    assert len(area_rows({"north": entry}, REGION, 1000)[0]) == 1
    with pytest.raises(DataError, match=r"150 x 220 pixels hold no window of 151 x 151; .*patch_size"):
        area_rows({"north": entry}, replace(REGION, patch_size=151), 1)


def test_windows_are_the_pixels_of_images_and_labels(land, tmp_path):
    entry, image, l3 = land
    table, images, masks = packed(tmp_path / "a", REGION, areas={"north": entry}, tiling=tiling())
    places = [(row, column) for row in (0, 64) for column in (0, 64, 128)]
    assert table["id"].tolist() == [f"north-{row:06}-{column:06}" for row, column in places]
    assert table[["window_row", "window_column"]].to_numpy().tolist() == [[*place] for place in places]
    assert table[["c", "f"]].to_numpy().tolist() == [[600000 + 10 * c, 8300000 - 10 * r] for r, c in places]
    assert opened(tmp_path / "a").header.layers == ("l1", "l2", "l3", "edge_l1", "edge_l2", "edge_l3")
    assert opened(tmp_path / "a").header.bands == (*MSI, *DEM)
    for (row, column), found, layers in zip(places, images, masks, strict=True):
        part = np.s_[row : row + 64, column : column + 64]
        np.testing.assert_array_equal(found[:4], image[:4][:, *part])
        np.testing.assert_allclose(found[4], image[4][part], rtol=1e-6)
        expected = np.where(np.isnan(image[:, *part]).any(0), 255, l3[part])
        ancestors = REGION.ancestors("l3")
        levels = [np.array([*ancestors[level], *[255] * 251], np.uint8)[expected] for level in ("l1", "l2")]
        classes = np.stack([*levels, expected])
        np.testing.assert_array_equal(layers, np.concatenate([classes, derive_edges(classes)]))
    assert np.isnan(images[:, 2]).sum() == 300 and table["l3_24"].sum() == (masks[:, 2] == 2).sum() > 400
    assert (masks[:, 5] == 1).sum() == 24 and (masks[:, 3] == 1).sum() == 0  # soy beside maize: one class of l1
    assert [sorted(shown) for shown in table["polygons"]] == [[1, 5, 7], [2, 5], [6], [4], [3], []]


def test_windows_equal_the_same_patches_cut_to_files(land, tmp_path):
    entry, *_ = land
    table, images, masks = packed(tmp_path / "a", CUT, areas={"north": entry}, tiling=tiling())
    for row, values, layers in zip(table.itertuples(), images, masks, strict=True):
        grid = {"transform": Affine(row.a, row.b, row.c, row.d, row.e, row.f)}
        name = f"patch_{row.id}.tif"
        write_raster(tmp_path / "cut/msi" / name, values[:4][::-1], MSI[::-1], nodata=np.nan, **grid)
        write_raster(tmp_path / "cut/dem" / name, values[4:], DEM, **grid)
        for level, mask in zip(("l1", "l2", "l3"), layers, strict=False):
            ids = np.array([*CUT.levels[level].ids, *[255] * 256], np.int16)[mask]
            write_raster(tmp_path / "cut" / FOLDERS[level] / name, ids[None], nodata=255, **grid)
    again, cut_images, cut_masks = packed(tmp_path / "b", CUT, [tmp_path / "cut"])
    assert again["id"].tolist() == table["id"].tolist()
    same = ["crs", *"abcdef", "left", "bottom", "right", "top", *(f"l3_{id_}" for id_ in IDS)]
    pd.testing.assert_frame_equal(again[same], table[same])
    assert cut_images.tobytes() == images.tobytes() and cut_masks[:, :3].tobytes() == masks[:, :3].tobytes()
    np.testing.assert_array_equal(cut_masks, masks)


def test_windows_with_few_labels_or_data_are_left_out_and_not_faulty(land, tmp_path):
    entry, *_ = land
    kept, *_ = packed(tmp_path / "a", REGION, areas={"north": entry}, tiling=tiling(least=0.08))
    assert kept["id"].tolist() == ["north-000000-000000", "north-000000-000064"]
    kept, *_ = packed(tmp_path / "b", REGION, areas={"north": entry}, tiling=tiling(), max_nodata=0.01)
    assert "north-000000-000000" in kept["id"].tolist() and "north-000000-000064" not in kept["id"].tolist()
    assert pd.read_csv(tmp_path / "b/rejected.csv").empty
    with pytest.raises(DataError, match=r"none of 6 windows .*minimum_labelled"):
        packed(tmp_path / "c", REGION, areas={"north": entry}, tiling=tiling(least=0.9))


def test_areas_follow_one_another_by_name_whatever_their_order(land, tmp_path):
    entry, *_ = land
    areas = {name: entry | {"name": name} for name in ("south", "north")}
    table, images, masks = packed(tmp_path / "a", REGION, areas=areas, tiling=tiling(stride=86, least=0.01))
    assert table["area"].is_monotonic_increasing and set(table["area"]) == {"north", "south"}
    half = len(table) // 2
    assert images[:half].tobytes() == images[half:].tobytes() and masks[:half].tobytes() == masks[half:].tobytes()
    source = Source(REGION, ["msi", "dem"], ["l1", "l2", "l3"], areas)
    rows = table.to_dict("records")[::-1]
    assert [patch.content for patch in source.read(rows)] == table["content"].tolist()[::-1]


def test_own_labels_of_a_coarser_level_come_before_those_made_of_a_finer_one(land, tmp_path):
    entry, *_ = land
    ids = np.full((1, HEIGHT, WIDTH), 2, np.uint8)
    ids[0, :10] = 0
    write_raster(tmp_path / "l1.tif", ids, transform=GRID, nodata=0)
    own = {"file": str(tmp_path / "l1.tif"), "layer": None, "field": None, "classes": {}}
    entry = entry | {"labels": {"l1": own} | entry["labels"]}
    with open_area(entry, REGION, ["msi"], ["l1", "l2", "l3"]) as area:
        patch = area.read(0, 0)
    assert np.unique(patch.classes[0]).tolist() == [1, 255] and (patch.classes[0, :10] == 255).all()
    assert (patch.classes[1] != 255).sum() == (patch.classes[2] != 255).sum() > 300


def test_areas_without_a_common_level_are_refused(land, tmp_path):
    entry, *_ = land
    one = entry | {"images": {"dem": entry["images"]["dem"]}}
    other = entry | {"images": {"msi": entry["images"]["msi"]}}
    with pytest.raises(DataError, match="no sensor or no level in common"):
        packed(tmp_path / "a", REGION, areas={"a": one, "b": other}, tiling=tiling())
