"""A place astride two UTM zones and a year, from a catalogue on loopback: killed, finished, and as one command."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pystac
import pytest
import rasterio
from project import TINY, TUNED, Project
from rasterio.warp import reproject
from rasterio.windows import from_bounds
from sky import ASSETS, hectares, write_sky
from stac_server import StacServer

import cerraseg
from cerraseg.config.dataset import Dataset
from cerraseg.geo.zones import read_area, zones_of

BANDS = Dataset.of("cerradata-4mm").bands
MAPPED = f"results/scenes/border/{TUNED}/collection.json"
PIXEL = "pixel-concat-nw-l1-baseline-1"
SKY = {"width": 420, "height": 300, "seed": 42}


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    return write_sky(tmp_path_factory.mktemp("sky"), lie=True, **SKY)


@pytest.fixture(scope="module")
def server(sky):
    with StacServer(sky.folder) as running:
        yield running


def region_of(sky, server, **changes):
    stac = {"msi": {"url": server.url}, "sar": {"url": server.url}}
    entry = {"name": "border", "aoi": str(sky.aoi), "dates": ["2022-01-01", "2022-12-31"], "stac": stac}
    return entry | {"grid": {"tile_km": 2.2}, "scenarios": [TUNED]} | changes


@pytest.fixture(scope="module")
def mapped(finished, sky, server, tmp_path_factory):
    """The finished run with a region, killed in the middle of its tiles and finished."""
    made = finished.copy(tmp_path_factory.mktemp("region") / "project")
    made.configure(TINY | {"regions": [region_of(sky, server)], "baselines": ["pixel"]})
    made.kill_when("results/regions/border/tiles/*", MAPPED)
    made.run(MAPPED)
    return made


def read(path):
    with rasterio.open(path) as file:
        return file.read(1), file.transform


def test_second_run_does_nothing_and_the_list_is_frozen(mapped, server):
    """Asked anew, in another order, the same answer gives the same list, and nothing is fetched again."""
    assert mapped.planned(MAPPED) == {}
    lines = mapped.read("results/scenes/border/items.ndjson")
    server.order("reverse")
    mapped.run("--forcerun", "search", "--", "results/scenes/border/items.ndjson")
    server.order("none")
    assert mapped.read("results/scenes/border/items.ndjson") == lines
    assert mapped.planned(MAPPED) == {}
    plan = json.loads(mapped.read("results/scenes/border/plan.json"))
    assert any("which its pixels have off already" in line for line in plan["odd"])


def test_maps_are_those_of_the_whole_zones_and_of_the_command(mapped, sky, server, tmp_path):
    """Tile by tile as at once; and the command, undisturbed, gives what the killed run gave, byte by byte of pixels."""
    results, checkpoint = mapped.folder / "results", mapped.folder / f"results/models/{TUNED}/checkpoint.pt"
    words = ["map", str(checkpoint), "--aoi", str(sky.aoi), "--dates", "2022-01/2022-12", "--catalogue", server.url]
    words += ["--tile-km", "2.2", "-o", str(tmp_path / "border")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for further in (["--dry-run"], []):
        subprocess.run([sys.executable, "-m", "cerraseg.cli", *words, *further], check=True, env=environment)
        assert (tmp_path / "border/map_32722").exists() is not bool(further)
    model, area, mapped_hectares = cerraseg.load(checkpoint, "cpu"), read_area(sky.aoi), 0.0
    for epsg, zone in zones_of(area, resolution=10, tile_km=2.2, margin=64).items():
        classes, transform = read(results / f"scenes/border-{epsg}/{TUNED}/map/classes.tif")
        outside = zone.outside(rasterio.windows.Window(0, 0, *classes.shape[::-1]))
        assert ((classes == 255) == outside).all() and transform == zone.grid.transform
        images = {sensor: results / f"regions/border/{epsg}/{sensor}.vrt" for sensor in ("msi", "sar")}
        whole, _ = read(model.map(out=tmp_path / "whole.tif", **images))
        assert (
            whole[~outside] != classes[~outside]
        ).mean() <= 1e-4  # ties: with other threads, sums have another order
        assert (read(tmp_path / f"border/map_{epsg}/classes.tif")[0] != classes).mean() <= 1e-4
        for sensor in images:
            for tile in zone.tiles:
                name = f"tiles/{epsg}_{tile}/{sensor}.tif"
                assert (tmp_path / "border" / name).read_bytes() == (results / "regions/border" / name).read_bytes()
        mapped_hectares += pd.read_csv(results / f"scores/{TUNED}/areas_border-{epsg}.csv")["hectares"].iloc[-1]
    table = pd.read_csv(results / f"scenes/border/{TUNED}/areas.csv")
    assert table["hectares"].iloc[-1] == pytest.approx(mapped_hectares)
    assert mapped_hectares == pytest.approx(hectares(area), rel=3e-3)  # half a row of pixels at its southern side
    items = pystac.Collection.from_file(str(mapped.folder / MAPPED)).get_items()
    assert [item.id for item in items] == [f"border-{epsg}-{TUNED}" for epsg in (32722, 32723)]


def test_map_agrees_with_that_of_a_clear_day_given_as_rasters(mapped, tmp_path):
    """And with the simulated truth as it does: clouds, offsets and baselines leave no trace.

    Both by a pixel-wise model: a network that was trained for two epochs turns rounding into other classes.
    """
    mapped.run(trained := f"results/models/{PIXEL}/checkpoint.pt")
    model = cerraseg.load(mapped.folder / trained, "cpu")
    clear = write_sky(tmp_path / "clear", dates=("2022-04-22",), radar_dates=("2022-10-13",), **SKY)
    (optical,), (radar,) = clear.folder.glob("s2/*23MJP*"), clear.folder.glob("s1/*23MJP*")
    images = {
        "msi": {"files": [str(optical / f"{asset}.tif") for asset in ASSETS], "bands": list(BANDS("msi"))},
        "sar": {"files": [str(radar / "vv.tif"), str(radar / "vh.tif")], "bands": ["VV", "VH"]},
    }
    region = {sensor: mapped.folder / f"results/regions/border/32723/{sensor}.vrt" for sensor in images}
    maps = [model.map(out=tmp_path / f"{k}.tif", **given) for k, given in enumerate((images, region))]
    with rasterio.open(maps[0]) as scene, rasterio.open(maps[1]) as ours:
        classes = ours.read(1)
        given = scene.read(1, window=from_bounds(*ours.bounds, scene.transform), boundless=True, fill_value=255)
        truth = np.full(classes.shape, 255, np.uint8)
        with rasterio.open(clear.truth_l1) as source:
            reproject(rasterio.band(source, 1), truth, dst_crs=ours.crs, dst_transform=ours.transform, dst_nodata=255)
    known = (classes != 255) & (given != 255) & (truth != 255)
    assert known.sum() > 0.95 * (classes != 255).sum()
    region_right, scene_right = ((each[known] == truth[known]).mean() for each in (classes, given))
    assert (classes[known] == given[known]).mean() > 0.99 and abs(region_right - scene_right) < 0.005


def test_a_region_with_labels_is_trained_on(sky, server, tmp_path):
    """Its zones are areas of source rasters: patches over fetched composites, with labels of any raster."""
    config = {key: value for key, value in TINY.items() if key not in ("simulate", "released", "scenes")}
    region = region_of(sky, server, labels={"l1": str(sky.truth_l1)}, grid={"tile_km": 20})
    del region["scenarios"]
    config |= {"source": "rasters", "regions": [region], "scenarios": TINY["scenarios"] | {"extra": []}}
    made = Project(tmp_path / "project", config | {"tiling": {"stride": 64}})
    made.run("results/patches.parquet")
    table = pd.read_parquet(made.folder / "results/patches.parquet")
    assert {id_.rsplit("-", 2)[0] for id_ in table["id"]} == {"border-32722", "border-32723"}
    assert table[[f"l1_{k}" for k in range(7)]].to_numpy().sum() > 0.5 * 128**2 * len(table)
