"""A region from a STAC catalogue: search, fetch and map, and beside the fetch of a tile the usual notebook recipe.

Usage: bench_regions.py [--side-km KM] [--tile-km KM] [--sky FOLDER]
A server on loopback has simulated Sentinel-2 and Sentinel-1 images of two UTM zones, which meet at 48° west; both show
all of the area. ``--sky`` keeps them; 50 km take 4.7 GB. Needed bytes are of each file the share that the tiles cover,
as the plan of a fetch has it. The recipe is ``odc.stac.load`` of all images of the largest tile, by solar day as dask
arrays, and their median: no masks, offsets, checks or files. The model is the demo's U-Net, untrained, on the CPU.
"""

import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import dask
import numpy as np
import odc.stac
import pandas as pd
import pystac
import rasterio
from inputs import DEMO_UNET, write_checkpoint
from measuring import Run, arguments, measured, row
from odc.geo.geobox import GeoBox
from sky import hectares, write_sky
from stac_server import StacServer

from cerraseg.data.imagery.catalogues import state
from cerraseg.data.imagery.fetch import fetch_tile
from cerraseg.data.imagery.search import by_sensor, plan
from cerraseg.geo.grids import Grid

THREADS = 2
NEAR = 40  # pixels on both sides of a border, whose steps are held against those across it


def simulate(sky: Path, side: int, checkpoint: Path) -> None:
    """Write the images, where the folder does not have them, and a model whose normalisation fits them."""
    if not (sky / "items.json").is_file():  # the last that is written
        print(f"simulating images of {side:,} × {side:,} pixels", flush=True)
        write_sky(sky, width=side, height=side, seed=42)
    samples = []
    for name in ("master_msi.tif", "master_sar.tif"):
        with rasterio.open(sky / name) as file:
            assert file.shape == (side, side), f"{sky} has images of {file.shape} pixels: name another folder"
            samples += [*file.read(out_shape=(file.count, 200, 200))]
    mean, std = (tuple(float(of(band)) for band in samples) for of in (np.mean, np.std))
    write_checkpoint(checkpoint, DEMO_UNET, mean=mean, std=std)


def find(region):
    from cerraseg.mapping import region_map

    return partial(region_map.find_images, region)


def fetch(region, found, tiles, folder: Path):
    def run() -> None:
        for tile in tiles:
            grid, sensors = Grid.from_values(region.fetched(tile)), region.settings["sensors"]
            fetch_tile(by_sensor(found, grid, sensors), sensors, region.bands, grid, folder / tile)

    return run


def notebook(region, found, tile):
    odc.stac.configure_rio(cloud_defaults=True)
    dask.config.set(scheduler="threads", num_workers=THREADS)
    grid, medians = Grid.from_values(region.fetched(tile)), {}
    how = {"geobox": GeoBox(grid.shape, grid.transform, str(grid.crs)), "groupby": "solar_day", "chunks": {}}

    def run() -> float:
        for sensor, images in by_sensor(found, grid, region.settings["sensors"]).items():
            items = [pystac.Item.from_dict(dict(one.item)) for one in images]
            loaded = odc.stac.load(items, bands=[images[0].assets[band] for band in region.bands[sensor]], **how)
            medians[sensor] = loaded.median("time").compute()
        return float(medians["sar"]["vv"].mean())

    return run


def whole_map(region, found, checkpoint: Path):
    from cerraseg.mapping import map_scene, model, region_map

    how = {"segmenter": model.load(checkpoint, "cpu").segmenter, "settings": map_scene.Settings(threads=THREADS)}
    return partial(region_map.map_region, region, found, checkpoint, **how)


def served(server: StacServer, *call: Any) -> tuple[Run, float, str]:
    """How a call went, the MB that the server sent, and all of it in words."""
    server.clear()
    run = measured(*call)
    (gets, size), requests = server.downloaded(), len(server.log())
    words = f"{run.seconds:.1f} s, {run.peak:.0f} MB of memory, {gets:,} GETs, {requests - gets:,} other requests"
    return run, size / 1e6, f"{words}, {size / 1e6:,.1f} MB sent"


def seams(region) -> tuple[float, float]:
    """Mean step of confidence, in percent, from pixel to pixel: across the borders of tiles, and near them."""
    across, near = [], []
    for epsg, zone in region.zones.items():
        with rasterio.open(f"{region.folder}/map_{epsg}/confidence.tif") as file:
            image = file.read(1, masked=True).astype(np.float32).filled(np.nan)
        corners = [(int(window.col_off), int(window.row_off)) for window in zone.tiles.values()]
        for values, borders in zip((image, image.T), map(set, zip(*corners, strict=True)), strict=True):
            steps = np.abs(np.diff(values, axis=1, prepend=np.nan))  # to the pixel before
            lines = {border + shift for border in borders for shift in range(-NEAR, NEAR + 1)} - borders
            across.append(steps[:, sorted(borders)].ravel())
            near.append(steps[:, sorted(lines & {*range(steps.shape[1])})].ravel())
    return float(np.nanmean(np.concatenate(across))), float(np.nanmean(np.concatenate(near)))


def whole(server: StacServer, region, checkpoint: Path) -> None:
    """Search, fetch and map a region."""
    folder, grids = Path(region.folder), {tile: Grid.from_values(of) for tile, of in region.all_fetched.items()}
    area, side = hectares(region.area), region.settings["grid"]["tile_km"]
    place = f"{area / 100:,.0f} km² in {len(grids)} tiles of {side} km"
    run, _, words = served(server, find, region)
    found = run.value
    row(f"search of {len(found)} images of {place}", words, "", None)
    run, sent, words = served(server, fetch, region, found, [*grids], folder / "tiles")
    needed = plan(found, [*grids.values()], region.settings["sensors"], region.bands)["download"] / 1e6
    stored = sum(path.stat().st_size for path in folder.glob("tiles/*/*")) / 1e6
    words += f", {stored:,.0f} MB on disk, {1e5 * run.seconds / area:,.0f} s for 1,000 km²"
    row(f"fetch of {place}: bytes sent over needed", words, f"needed: {needed:,.1f} MB", sent / needed)
    one_tile(server, region, found, max(grids, key=lambda tile: np.prod(grids[tile].shape)))
    run, _, _ = served(server, whole_map, region, found, checkpoint)
    mapped = pd.read_csv(folder / "areas.csv")["hectares"].sum()
    assert abs(mapped / area - 1) < 1e-3, f"{mapped} ha are mapped of {area}"
    words = f"{run.seconds:.1f} s, {run.peak:.0f} MB of memory, {mapped:,.1f} ha"
    row(f"map of {place}: hectares over the region's", words, f"on the ellipsoid: {area:,.1f} ha", mapped / area)
    across, near = seams(region)
    what = "steps of that map's confidence from pixel to pixel, across borders of tiles over near them"
    row(what, f"{across:.3f} %", f"within {NEAR} pixels: {near:.3f} %", across / near, "≤ 1.1")


def one_tile(server: StacServer, region, found, tile: str) -> None:
    """Ours and the recipe on one tile."""
    folder, (height, width) = Path(region.folder, "one"), region.fetched(tile)["shape"]
    ours, sent, words = served(server, fetch, region, found, [tile], folder)
    peer, peer_sent, peer_words = served(server, notebook, region, found, tile)
    with rasterio.open(folder / tile / "sar.tif") as file:
        assert abs(peer.value / np.nanmean(file.read(1)) - 1) < 0.02, "ours and the recipe see other ground"
    what, name = f"fetch of a tile of {height:,} × {width:,} pixels", "`odc.stac.load`, median over time"
    row(f"{what}: time, ours over theirs", words, f"{name}: {peer_words}", ours.seconds / peer.seconds)
    for unit, mine, theirs in (("MB sent", sent, peer_sent), ("MB of memory", ours.peak, peer.peak)):
        row(f"{what}: {unit}, ours over theirs", f"{mine:,.1f}", f"{name}: {theirs:,.1f}", mine / theirs)


def main() -> None:
    options = arguments(__doc__, side_km=50, tile_km=20, sky="")
    os.environ["GDAL_HTTP_RETRY_DELAY"] = "0.1"
    from cerraseg.mapping import model, region_map  # with torch, which must not count as memory of a fetch

    with tempfile.TemporaryDirectory() as name:
        folder, checkpoint = Path(name, "region"), Path(name, "model.pt")
        sky = Path(options.sky or f"{name}/sky")
        simulate(sky, 100 * options.side_km + 200, checkpoint)
        with StacServer(sky) as server:
            for file in sky.glob("s[12]/*/*.tif"):
                state(f"{server.url}/{file.relative_to(sky)}")  # the server hashes a file when it is first asked for
            place, dates = str(sky / "aoi.geojson"), ("2022-01-01", "2022-12-31")
            how = {"catalogue": server.url, "collections": {}, "max_cloud": 60, "limit": 20}
            about = model.load(checkpoint, "cpu").segmenter, place, dates, folder
            whole(server, region_map.region_of(*about, **how, grid={"tile_km": options.tile_km}), checkpoint)


if __name__ == "__main__":
    main()
