import json
import os

import numpy as np
import pystac
import pytest
import rasterio
import shapely
from pystac.validation.stac_validator import JsonSchemaSTACValidator
from rasterio import Affine
from rasterio.warp import transform as reproject
from region import IDS, REGION
from scenes import CERRADATA

from cerraseg.core.errors import ConfigError
from cerraseg.geo.cog import new_map
from cerraseg.mapping.stac import write_item

L1, L2 = (CERRADATA.classes(level) for level in ("l1", "l2"))
UTM = Affine(10, 0, 700_000, 0, -10, 9_300_000)


def scene(folder, crs="EPSG:32722", transform=UTM, classes=L2):
    """The files of a mapped scene, 30 rows by 50 columns; two that are named do not exist."""
    files = {name: folder / f"map/{name}.tif" for name in ("classes", "confidence", "entropy")}
    files |= {"sieved": folder / "areas/areas.tif", "polygons": folder / "areas/areas.gpkg"}
    files |= {"areas": folder / "areas.csv", "figure": folder / "map.png"}
    with new_map(files["classes"], shape=(30, 50), crs=crs, transform=transform, classes=classes) as draft:
        draft.write(0, 0, np.zeros((30, 50), np.uint8))
    files["polygons"].parent.mkdir(parents=True)
    for name in ("confidence", "polygons", "areas", "figure"):
        files[name].touch()
    return files


def write(folder, files, date="2022-08-31", sources=(), **legends):
    path, properties = folder / "stac/item.json", {"title": "Land cover of demo"}
    legends = {"classes": L2, "coarser": {"l1": L1}} | legends
    write_item(path, id="demo-x", date=date, files=files, sources=sources, **legends, properties=properties)
    return json.loads(path.read_text())


def check_core(item):
    """Validate the item without its extensions, whose schemas pystac does not ship."""
    JsonSchemaSTACValidator().validate_core(item, pystac.STACObjectType.ITEM, item["stac_version"])


def test_item_describes_the_map(tmp_path):
    files = scene(tmp_path)
    item = write(tmp_path, files)
    first = (tmp_path / "stac/item.json").read_bytes()
    assert write(tmp_path, files) == item and (tmp_path / "stac/item.json").read_bytes() == first
    check_core(item)
    assert item["id"] == "demo-x" and item["stac_version"] == "1.1.0"
    assert item["properties"] == {
        "title": "Land cover of demo",
        "datetime": "2022-08-31T00:00:00Z",
        "proj:code": "EPSG:32722",
        "proj:shape": [30, 50],
        "proj:transform": [10, 0, 700_000, 0, -10, 9_300_000],
    }
    footprint = shapely.geometry.shape(item["geometry"])
    assert footprint.geom_type == "Polygon" and footprint.exterior.is_ccw and len(footprint.exterior.coords) == 81
    np.testing.assert_allclose(footprint.bounds, item["bbox"])
    (west, east), (north, south) = reproject("EPSG:32722", "EPSG:4326", [7e5, 7e5 + 500], [9.3e6, 9.3e6 - 300])
    np.testing.assert_allclose(item["bbox"], [west, south, east, north], atol=2e-5)
    assert pystac.Item.from_dict(item).ext.proj.epsg == 32722


def test_assets_are_those_that_exist(tmp_path):
    item = write(tmp_path, scene(tmp_path))
    cog = "image/tiff; application=geotiff; profile=cloud-optimized"
    found = {key: (asset["href"], asset["type"], asset["roles"]) for key, asset in item["assets"].items()}
    assert found == {
        "classes": ("../map/classes.tif", cog, ["data"]),
        "confidence": ("../map/confidence.tif", cog, ["data"]),
        "areas": ("../areas.csv", "text/csv", ["metadata"]),
        "figure": ("../map.png", "image/png", ["overview"]),
        "polygons": ("../areas/areas.gpkg", "application/geopackage+sqlite3", ["data"]),
    }
    assert (item["assets"]["classes"]["data_type"], item["assets"]["classes"]["nodata"]) == ("uint8", 255)


def test_class_map_lists_its_classes(tmp_path):
    files = scene(tmp_path)
    files["classes_l1"] = files["classes"].with_name("classes_l1.tif")
    files["classes_l1"].touch()
    item = write(tmp_path, files)
    coarse = item["assets"]["classes_l1"]["classification:classes"]
    assert [entry["title"] for entry in coarse[:-1]] == [entry.name for entry in L1]
    *legend, no_data = item["assets"]["classes"]["classification:classes"]
    for entry, found in zip(L2, legend, strict=True):
        assert (found["value"], found["title"]) == (entry.id, entry.name)
        assert found["color_hint"] == "{:02X}{:02X}{:02X}".format(*entry.colour)
    assert no_data == {"value": 255, "name": "no-data", "nodata": True}
    names = [entry["name"] for entry in legend]
    assert names[10:12] == ["temporary-agriculture-of-1-cycle", "temporary-agriculture-of-1-plus-cycle"]
    assert "classification:classes" not in item["assets"]["confidence"]
    extensions = [uri.split("/")[-3] for uri in item["stac_extensions"]]
    assert extensions == ["projection", "classification"]


def test_without_a_date_the_span_ends_with_the_newest_source(tmp_path):
    for name, seconds in (("msi.tif", 1_600_000_000.7), ("sar.tif", 1_500_000_000)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (seconds, seconds))
    item = write(tmp_path, scene(tmp_path), None, sources=[tmp_path / "msi.tif", tmp_path / "sar.tif"])
    check_core(item)
    span = {"datetime": None, "start_datetime": "2014-04-03T00:00:00Z", "end_datetime": "2020-09-13T12:26:40Z"}
    assert {key: item["properties"][key] for key in span} == span


def test_footprint_follows_a_projection_whose_edges_are_arcs(tmp_path):
    files = scene(tmp_path, transform=Affine(2000, 0, 700_000, 0, -2000, 9_300_000))
    footprint = shapely.geometry.shape(write(tmp_path, files)["geometry"])
    y = np.linspace(9_300_000, 9_240_000, 1000)
    east, north = reproject("EPSG:32722", "EPSG:4326", np.full(1000, 8e5), y)
    assert footprint.boundary.distance(shapely.points(east, north)).max() < 1e-6


def test_a_map_without_an_epsg_code_has_wkt(tmp_path):
    local = "+proj=laea +lat_0=-15 +lon_0=-47 +ellps=GRS80"
    item = write(tmp_path, scene(tmp_path, local, Affine(10, 0, 0, 0, -10, 0)))
    check_core(item)
    assert "proj:code" not in item["properties"]
    assert rasterio.CRS.from_wkt(item["properties"]["proj:wkt2"]) == rasterio.CRS.from_proj4(local)
    assert item["properties"]["proj:wkt2"].startswith("PROJCRS[")


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:4326", Affine(0.01, 0, 179.75, 0, -0.01, -16)),
        ("EPSG:32701", Affine(1065.2, 0, 150_600, 0, -1107, 8_229_600)),
    ],
)
def test_a_map_across_the_antimeridian_is_cut_there(tmp_path, crs, transform):
    item = write(tmp_path, scene(tmp_path, crs, transform))
    check_core(item)
    west, south, east, north = item["bbox"]
    assert 179.6 < west < 179.8 and -179.8 < east < -179.7 and -16.4 < south < north < -15.9
    parts = shapely.geometry.shape(item["geometry"]).geoms
    assert [part.bounds[0] > 0 for part in parts] in ([True, False], [False, True])
    assert all(part.exterior.is_ccw and part.is_valid for part in parts)
    assert sorted(round(abs(bound), 6) for part in parts for bound in part.bounds[::2])[2:] == [180, 180]
    np.testing.assert_allclose(sum(part.area for part in parts), 0.5 * 0.3, rtol=0.03)


def test_a_date_of_another_form_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"31\.8\.2022"):
        write(tmp_path, scene(tmp_path), "31.8.2022")
    assert not (tmp_path / "stac").exists()


def test_ids_with_gaps_and_two_coarser_levels(tmp_path):
    classes = REGION.classes("l3")
    files = scene(tmp_path, classes=classes)
    for level in ("l1", "l2"):
        files[f"classes_{level}"] = files["classes"].with_name(f"classes_{level}.tif")
        files[f"classes_{level}"].touch()
    coarser = {level: REGION.classes(level) for level in REGION.ancestors("l3")}
    item = write(tmp_path, files, classes=classes, coarser=coarser)
    check_core(item)
    assert list(item["assets"])[:4] == ["classes", "classes_l1", "classes_l2", "confidence"]
    assert item["assets"]["classes_l2"]["title"] == "Land cover, L2"
    values = {
        key: [entry["value"] for entry in asset["classification:classes"]]
        for key, asset in item["assets"].items()
        if "classification:classes" in asset
    }
    assert values == {"classes": [*IDS, 255], "classes_l1": [1, 2, 255], "classes_l2": [40, 30, 20, 255]}
