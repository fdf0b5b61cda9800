"""Images of a place and a season from a catalogue on loopback: the same bytes whatever goes wrong on the way."""

import json
import shutil
from pathlib import Path

import numpy as np
import planetary_computer
import pytest
import rasterio
from rasterio.warp import Resampling, reproject
from sky import DATES, write_sky
from stac_server import StacServer

from cerraseg.config.dataset import Dataset
from cerraseg.config.regions import check_region
from cerraseg.core.errors import ConfigError, DataError, DownloadError
from cerraseg.data.imagery import catalogues, search
from cerraseg.data.imagery.fetch import fetch_tile
from cerraseg.data.imagery.region import Region

CERRADATA = Dataset.of("cerradata-4mm")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.05")
    catalogues._session.cache_clear()


@pytest.fixture(scope="module")
def whole_sky(tmp_path_factory):
    return write_sky(tmp_path_factory.mktemp("sky"), width=260, height=220, seed=1, lie=True)


@pytest.fixture
def sky(whole_sky, tmp_path):
    """A copy that may be changed."""
    return write_sky.__annotations__["return"](**{
        name: (tmp_path / "sky" / value.name if isinstance(value, Path) and name != "folder" else value)
        for name, value in vars(whole_sky).items()
    } | {"folder": Path(shutil.copytree(whole_sky.folder, tmp_path / "sky"))})  # fmt: skip


@pytest.fixture
def server(sky):
    with StacServer(sky.folder) as running:
        yield running


def region_at(url, sky, folder=Path(), **changes):
    """The region of the sky's area of interest, of one tile a zone."""
    stac = {"msi": {"url": url}, "sar": {"url": url}}
    entry = {"name": "border", "aoi": str(sky.aoi), "dates": ["2022-01-01", "2022-12-31"], "stac": stac} | changes
    return Region(check_region(entry, CERRADATA), CERRADATA, str(folder))


def listed(region):
    return search.search(region.area, region.settings["dates"], region.settings["sensors"], region.bands)


def fetched(region, lines, folder):
    """Fetch the first tile, and return its files' bytes by name."""
    tile, of = next(iter(region.all_fetched.items()))
    grid = search.Grid.from_values(of)
    images = search.by_sensor(search.parse(lines), grid, of["sensors"])
    fetch_tile(images, of["sensors"], of["bands"], grid, folder / tile, 2)
    return {file.name: file.read_bytes() for file in sorted((folder / tile).iterdir())}


def without_address(lines, server):
    return lines.replace(server.url.encode(), b"")


def test_list_is_the_same_in_any_order_and_after_failures(server, sky):
    """Answers in pages, turned round, repeated, and after 429, 500 and 503."""
    region = region_at(server.url, sky)
    lines = listed(region)
    assert len(lines.splitlines()) == 2 * len(DATES) + 6
    server.order("reverse")
    assert listed(region) == lines
    server.order("repeat")
    server.fault("/search", 429, 500, 503)
    server.fault("/", 500)
    some = next(path for path in sky.folder.glob("s2/*/blue.tif"))
    server.fault(f"/{some.relative_to(sky.folder).as_posix()}", 500, 429)
    assert listed(region) == lines


def test_metadata_that_lie_are_named_in_the_list(server, sky):
    """Of the item that lies outright, and of those whose raster:bands do, as Earth Search's."""
    found = search.parse(listed(region_at(server.url, sky)))
    notes = {one.id: (one.offset, one.note) for one in found if one.note}
    liar = next(one for one in found if one.date == DATES[-1] and "22MHU" in one.id)
    assert notes[liar.id] == (0.0, "metadata give an offset, which its pixels have off already")
    others = [note for id_, (_, note) in notes.items() if id_ != liar.id]
    assert others and all(note.startswith("raster:bands gives the offset -0.1") for note in others)


def test_composite_is_the_ground_under_clouds_and_offsets(server, sky, tmp_path):
    """Bands of 10 m equal the master to rounding: the offset is off once, whatever items say, and clouds are gone."""
    region = region_at(server.url, sky)
    fetched(region, listed(region), tmp_path)
    tile, of = next(iter(region.all_fetched.items()))
    grid = search.Grid.from_values(of)
    with rasterio.open(tmp_path / tile / "msi.tif") as file, rasterio.open(sky.master_msi) as master:
        seen, ground = file.read().astype(float), np.full((12, *grid.shape), np.nan, np.float32)
        where = {"dst_crs": grid.crs, "dst_transform": grid.transform, "src_nodata": np.nan, "dst_nodata": np.nan}
        reproject(rasterio.band(master, list(master.indexes)), ground, **where, resampling=Resampling.bilinear)
        assert file.descriptions == CERRADATA.bands("msi")
    valid = (seen > 0).all(axis=0) & np.isfinite(ground).all(axis=0)
    assert valid.mean() > 0.7
    ten = [CERRADATA.bands("msi").index(band) for band in ("B02", "B03", "B04", "B08")]
    assert np.percentile(np.abs(seen - ground)[ten][:, valid], 99) <= 2
    assert (np.abs(np.median((seen - ground)[:, valid], axis=1)) < 30).all()
    with rasterio.open(tmp_path / tile / "msi_dates.tif") as file:
        dates = file.read(1)
    assert ((dates > 0) == (seen > 0).all(axis=0)).all() and dates.max() == len(DATES) and dates[valid].min() >= 2
    assert json.loads((tmp_path / tile / "tile.json").read_text())["empty"] == []


def test_tile_has_the_same_bytes_after_failures(server, sky, tmp_path):
    """A file that is cut, too short, gone for a moment, or refused with 429 and 500, is asked for again."""
    region = region_at(server.url, sky)
    lines = listed(region)
    undisturbed = fetched(region, lines, tmp_path / "first")
    files = [path for kind in ("red", "scl") for path in sorted(sky.folder.glob(f"s2/*/{kind}.tif"))]
    files += sorted(sky.folder.glob("s1/*/vv.tif"))
    faults = ([429], [500, 500], [404], [None, None, ("cut", 300)], [("short", 400)], [None, ("short", 400)], [503])
    for place, path in enumerate(files):
        server.fault(f"/{path.relative_to(sky.folder).as_posix()}", *faults[place % len(faults)])
    assert fetched(region, lines, tmp_path / "second") == undisturbed


@pytest.mark.parametrize("how", ["changed", "gone"])
def test_other_files_than_those_found_are_refused(server, sky, tmp_path, how):
    region = region_at(server.url, sky)
    lines = listed(region)
    file = sorted(sky.folder.glob("s2/*/red.tif"))[0]
    if how == "gone":
        file.unlink()
    else:
        with rasterio.open(file, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as opened:
            opened.write(opened.read() + 1)
    with pytest.raises(DownloadError, match="forcerun search"):
        fetched(region, lines, tmp_path / "tiles")
    assert not list((tmp_path / "tiles").glob("*"))


def test_tile_without_a_clear_pixel_has_no_data_and_says_so(server, sky, tmp_path, caplog):
    mask = {"asset": "scl", "values": [0, 3, 4, 9]}
    region = region_at(server.url, sky, composite={"mask": mask})
    tile = fetched(region, listed(region), tmp_path)
    assert json.loads(tile["tile.json"])["empty"] == ["msi"] and "no clear pixel of msi" in caplog.text


def test_what_cannot_be_had_is_refused_before_the_fetch(server, sky):
    stac = {"msi": {"url": server.url, "max_cloud": 0, "assets": {"B02": "azul"}}}
    with pytest.raises(DataError, match="max_cloud"):
        listed(region_at(server.url, sky, dates=["2021-01-01", "2021-12-31"]))
    with pytest.raises(ConfigError, match="azul"):
        listed(region_at(server.url, sky, stac={"msi": stac["msi"] | {"max_cloud": 100}}))
    server.fault("/", *[500] * 9)
    with pytest.raises(DownloadError, match="reached"):
        listed(region_at(server.url, sky))


def test_plan_counts_tiles_images_and_bytes(server, sky):
    region = region_at(server.url, sky)
    found = search.parse(listed(region))
    grids = [search.Grid.from_values(of) for of in region.all_fetched.values()]
    plan = search.plan(found, grids, region.settings["sensors"], region.bands)
    assert plan["images"] == {"msi": 2 * len(DATES), "sar": 6} and plan["tiles"] == 2 and len(plan["odd"]) >= 2
    whole = sum(path.stat().st_size for path in sky.folder.glob("s[12]/*/*.tif"))
    assert 0.5 * whole < plan["download"] < 2 * whole  # near the border, tiles of both zones take an image
    pixels = sum(np.prod(grid.shape) for grid in grids)
    assert plan["disk"] == pixels * (12 * 2 + 1 + 2 * 4 + 1)


NAMES = {asset: band for band, asset in catalogues._NAMES.items()} | {"scl": "SCL"}


def as_planetary_computer(item):
    """With band names as keys, a baseline and no word of an offset."""
    assets = {NAMES[key]: {"href": asset["href"], "gsd": asset["gsd"]} for key, asset in item["assets"].items()}
    kept = ("datetime", "eo:cloud_cover", "proj:epsg", "platform")
    return {"assets": assets, "properties": {key: item["properties"][key] for key in kept}}


def as_cdse(item):
    """With the pixel's side in the keys, the baseline as version, and code and size at the assets."""
    side = {key: f"{asset['gsd']:g}m" for key, asset in item["assets"].items()}
    assets = {
        f"{NAMES[key]}_{side[key]}": {"href": asset["href"], "proj:code": f"EPSG:{item['properties']['proj:epsg']}"}
        for key, asset in item["assets"].items()
    }
    return {"assets": assets, "properties": {key: item["properties"][key] for key in ("datetime", "eo:cloud_cover")}}


@pytest.mark.parametrize("shape", [as_planetary_computer, as_cdse])
def test_items_of_other_catalogues_give_the_same_tile(server, sky, tmp_path, shape):
    """Fields as the catalogues document them; sound baselines alone, as these do not take the offset off."""
    items = [item for item in json.loads(sky.items.read_text()) if item["collection"] == "sentinel-2-l2a"]
    sound = [item for item in items if DATES[-1][:7] != item["properties"]["datetime"][:7]]
    sound = [item for item in sound if not item["properties"].get("earthsearch:boa_offset_applied")]
    tiles = []
    for name, changed in (("as it is", lambda item: {}), ("other", shape)):
        made = []
        for item in sound:
            new, baseline = item | changed(item), item["properties"]["s2:processing_baseline"]
            key = "processing:version" if shape is as_cdse else "s2:processing_baseline"
            made.append(new | {"properties": {**new["properties"], key: baseline}})
        sky.items.write_text(json.dumps(made))
        server.items()
        region = region_at(server.url, sky, stac={"msi": {"url": server.url}})
        tiles.append(fetched(region, listed(region), tmp_path / name))
    assert tiles[0] == tiles[1]


def test_files_of_planetary_computer_are_signed_and_those_of_s3_left_to_gdal(tmp_path, monkeypatch):
    token = tmp_path / "token/sentinel2l2a01/c"
    token.parent.mkdir(parents=True)
    token.write_text(json.dumps({"msft:expiry": "2100-01-01T00:00:00Z", "token": "sp=r&sig=x"}))
    (tmp_path / "items.json").write_text("[]")
    with StacServer(tmp_path) as server:
        monkeypatch.setattr(planetary_computer.settings.Settings.get(), "sas_url", f"{server.url}/token")
        href = "https://sentinel2l2a01.blob.core.windows.net/c/B02.tif"
        assert catalogues.signed(href) == f"{href}?sp=r&sig=x"
    assert catalogues.signed("s3://eodata/B02_10m.jp2") == "s3://eodata/B02_10m.jp2"
    assert catalogues.state("s3://eodata/B02_10m.jp2") == (None, None)
