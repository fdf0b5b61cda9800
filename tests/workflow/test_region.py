"""A foreign region through the workflow: rasters and sparse polygons in, scores and maps in its ids and colours out."""

import csv
import json
import os
import xml.etree.ElementTree as ET
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyogrio
import pytest
import rasterio
import region_rasters
import shapely
import yaml
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.vrt import WarpedVRT
from rasterio.warp import Resampling
from rasterio.windows import Window
from region import IDS
from region_run import RESULTS, SCENARIO
from scenes import write_raster as write

from cerraseg.config.descriptions import load_dataset
from cerraseg.data.index import write_patch_table
from cerraseg.data.pack import pack

LEGEND = [  # as the page leaves it
    (3, "Forest", "#0b5d1e"),
    (15, "Grassland", "#ceef62"),
    (24, "Soy", "#ffd700"),
    (33, "Maize", "#df7c26"),
    (39, "Water", "#1332ff"),
]
SCENE = f"{RESULTS}/scenes/north/{SCENARIO}"
SCORES = f"{RESULTS}/scores/{SCENARIO}"
MAPS = (f"{SCENE}/map/classes.tif", f"{SCENE}/sieved.tif", f"{RESULTS}/scenarios/{SCENARIO}/mosaic/prediction_*.tif")


def rgb(colour):
    return tuple(bytes.fromhex(colour[1:]))


def one(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


@pytest.mark.parametrize("name", MAPS)
def test_maps_hold_the_ids_the_colours_and_the_names(region_run, name):
    path = one(region_run.folder, name)
    with rasterio.open(path) as file:
        values, colours, tags, nodata = file.read(1), file.colormap(1), file.tags(), file.nodata
    assert set(np.unique(values)) <= {*IDS, 255} and nodata == 255
    assert {id_: colours[id_][:3] for id_ in IDS} == {id_: rgb(colour) for id_, _, colour in LEGEND}
    assert {id_: tags[f"CLASS_{id_}"] for id_ in IDS} == {id_: title for id_, title, _ in LEGEND}
    band = ET.parse(f"{path}.aux.xml").find("PAMRasterBand")
    rows = [[cell.text for cell in row] for row in band.iter("Row")]
    counts = np.bincount(values.ravel(), minlength=256)
    assert rows == [[str(id_), str(counts[id_]), title, *map(str, rgb(colour))] for id_, title, colour in LEGEND]
    categories = [category.text for category in band.iter("Category")]
    assert [categories[id_] for id_ in IDS] == [title for _, title, _ in LEGEND]


def test_the_scene_is_mapped_well_on_its_own_grid(region_run):
    with rasterio.open(region_run.folder / MAPS[0]) as found, rasterio.open(region_run.truth) as truth:
        assert (found.crs, found.transform, found.shape) == (truth.crs, truth.transform, truth.shape)
        right = found.read(1) == truth.read(1)
    assert right.mean() > 0.8  # chance: 0.2


def test_the_mosaic_lies_where_the_windows_with_labels_are(region_run):
    table = pd.read_parquet(region_run.folder / RESULTS / "patches.parquet")
    with rasterio.open(one(region_run.folder, MAPS[2])) as file, rasterio.open(region_run.truth) as truth:
        mosaic, area = file.read(1), file.window(*file.bounds)
        right = truth.read(1, window=truth.window(*file.bounds))
    assert np.count_nonzero(mosaic != 255) == 64 * 64 * len(table) and mosaic.shape == (area.height, area.width)
    assert (mosaic == right)[mosaic != 255].mean() > 0.8


def test_tables_go_by_id(region_run):
    metrics = json.loads(region_run.read(f"{SCORES}/metrics.json"))
    assert [(entry["id"], entry["name"]) for entry in metrics["classes"]] == [of[:2] for of in LEGEND]
    assert metrics["scores"]["accuracy"] > 0.8
    with (region_run.folder / SCORES / "areas_north.csv").open() as file:
        *classes, total = csv.DictReader(file)
    assert [(int(row["id"]), row["name"]) for row in classes] == [of[:2] for of in LEGEND]
    assert float(total["hectares"]) == pytest.approx(704 * 896 / 100, rel=1e-3)
    with rasterio.open(region_run.folder / MAPS[0]) as file:
        assert [int(row["pixels"]) for row in classes] == np.bincount(file.read(1).ravel())[list(IDS)].tolist()
    item = json.loads(region_run.read(f"{SCENE}/item.json"))
    told = [of for of in item["assets"]["classes"]["classification:classes"] if not of.get("nodata")]
    assert [(of["value"], of["title"], f"#{of['color_hint'].lower()}") for of in told] == LEGEND
    path = region_run.folder / SCENE / "polygons.gpkg"
    _, _, _, (ids,) = pyogrio.raw.read(path, layer="land_cover", columns=["class_id"], read_geometry=False)
    assert set(ids) <= set(IDS)


def test_a_changed_file_below_a_virtual_raster_is_noticed(region_run):
    """Case 16: the radar is a VRT over a file per band."""
    source, command = region_run.folder / "my-region/data/s1_VH.tif", ["--configfile", "my-region/config.yaml"]
    content, times = source.read_bytes(), (source.stat().st_atime_ns, source.stat().st_mtime_ns)
    try:
        with rasterio.open(source, "r+") as file:
            file.write(2 * file.read())
        planned = region_run.planned(*command)
    finally:
        source.write_bytes(content)
        os.utime(source, ns=times)
    assert planned.keys() >= {"rasters", "scene", "map"}


def test_windows_cut_to_patch_files_give_the_same_pixels(region_run, tmp_path):
    """Source local: a GeoTIFF for each sensor and level of each window, bands in the image's order."""
    described = yaml.safe_load((region_run.folder / "my-region/my-region.yaml").read_text())
    for part in (described["sensors"], described["levels"]):
        for layer, entry in part.items():
            entry["folders"] = [layer]
    table = pd.read_parquet(region_run.folder / RESULTS / "patches.parquet")
    cut(region_run.folder / "my-region/data", table, tmp_path)
    dataset = load_dataset(described, region_run.folder / "my-region")
    write_patch_table([tmp_path], dataset, tmp_path / "patches.parquet", tmp_path / "rejected.csv", threads=2)
    arrays = [tmp_path / name for name in ("images.npy", "masks.npy", "header.json")]
    pack(tmp_path / "patches.parquet", dataset, *arrays, workers=2)
    for path in arrays:
        assert path.read_bytes() == region_run.read(f"{RESULTS}/packed/{path.name}"), path.name
    ours = pd.read_parquet(tmp_path / "patches.parquet")
    same = ["id", "crs", *"abcdef", "left", "bottom", "right", "top", *(f"crops_{id_}" for id_ in IDS)]
    pd.testing.assert_frame_equal(ours[same], table[same])
    assert (ours[same[-5:]].sum() > 5000).all()


def cut(data: Path, table: pd.DataFrame, folder: Path) -> None:
    """Write the windows of a patch table as files, all sensors on the optical grid, by rasterio alone."""
    with ExitStack() as stack:
        optical = stack.enter_context(rasterio.open(data / "s2.tif"))
        place, (height, width) = {"crs": optical.crs, "transform": optical.transform}, optical.shape
        options = {"height": height, "width": width, "nodata": np.nan, "resampling": Resampling.bilinear}
        sources = {"msi": optical}
        for sensor, name in (("sar", "s1.vrt"), ("dem", "dem.tif")):
            file = stack.enter_context(rasterio.open(data / name))
            sources[sensor] = stack.enter_context(WarpedVRT(file, **place, **options))
        labels = burnt(data / "fields.gpkg", optical)
        for row in table.to_dict("records"):
            window = Window(row["window_column"], row["window_row"], 64, 64)
            there = place | {"transform": rasterio.windows.transform(window, optical.transform)}
            for sensor, source in sources.items():
                path = folder / sensor / f"{sensor}_{row['id']}.tif"
                write(path, source.read(window=window), source.descriptions, **there)
            write(folder / "crops" / f"crops_{row['id']}.tif", labels[:, *window.toslices()], (), **there)


def burnt(path: Path, grid: Any) -> NDArray:
    """Labels of the polygons as ids, (1, H, W)."""
    _, _, shapes, (crops,) = pyogrio.raw.read(path)
    ids = {crop: id_ for id_, crop in region_rasters.CROPS.items()}
    pairs = [(shape, ids[crop]) for shape, crop in zip(shapely.from_wkb(shapes), crops, strict=True)]
    return rasterize(pairs, grid.shape, fill=255, transform=grid.transform, dtype=np.uint8)[None]
