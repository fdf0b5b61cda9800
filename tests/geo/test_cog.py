"""Maps as Cloud-Optimized GeoTIFFs: overviews, colours and class names, and empty ground."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
import rasterio
from rasterio.shutil import copy
from rasterio.transform import from_origin
from region import IDS, L3
from rio_cogeo import cog_validate
from scenes import CERRADATA

from cerraseg.geo import cog
from cerraseg.geo.cog import CHUNK, new_map

L1 = CERRADATA.classes("l1")
PLACE = {"crs": "EPSG:32722", "transform": from_origin(600000, 8300000, 10, 10)}


def write_map(path, values, classes=L1, **options):
    """A map whose chunks without data are left out."""
    with new_map(path, shape=values.shape, **PLACE, classes=classes, threads=1, **options) as draft:
        for row, column in np.ndindex(*(-(-side // CHUNK) for side in values.shape)):
            chunk = values[row * CHUNK : (row + 1) * CHUNK, column * CHUNK : (column + 1) * CHUNK]
            if (chunk != 255).any():
                draft.write(row, column, chunk)
    return draft


def overview(path, level):
    with rasterio.open(path, overview_level=level) as file:
        return file.read(1)


def fields(height, width):
    """Classes in squares of 20 pixels, a hole, and odd sides."""
    values = np.kron(np.random.default_rng(0).integers(0, 7, (60, 110), np.uint8), np.ones((20, 20), np.uint8))
    values[100:300, 200:500] = 255
    return values[:height, :width]


def test_a_class_map_keeps_its_pixels_colours_and_names(tmp_path):
    path, values = tmp_path / "map.tif", fields(1101, 2111)
    (tmp_path / ".map.tif.part").mkdir()  # a killed run left it
    draft = write_map(path, values, tags={"source": "simulated"})
    assert cog_validate(path, quiet=True) == (True, [], [])
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(1), values)
        assert (file.crs, file.transform, file.nodata) == (PLACE["crs"], PLACE["transform"], 255)
        assert file.overviews(1) == [2, 4, 8] and file.block_shapes == [(512, 512)]
        assert file.compression.name == "deflate" and file.descriptions == ("land cover",)
        assert {entry.id: file.colormap(1)[entry.id] for entry in L1} == {c.id: (*c.colour, 255) for c in L1}
        tags = file.tags()
    assert (tags["source"], tags["CLASS_0"], tags["CLASS_6"]) == ("simulated", "Pasture", "Other uses")
    assert tags["AREA_OR_POINT"] == "Area"
    assert draft.counts[:255].sum() == np.count_nonzero(values != 255)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["map.tif", "map.tif.aux.xml"]
    band = ET.parse(f"{path}.aux.xml").find("PAMRasterBand")
    assert [c.text for c in band.iter("Category")] == [c.name for c in L1]
    usages = [tuple(map(field.findtext, ("Name", "Type", "Usage"))) for field in band.iter("FieldDefn")]
    assert usages[0] == ("Value", "0", "5") and usages[2:4] == [("Class", "2", "2"), ("Red", "0", "6")]
    rows = [[cell.text for cell in row] for row in band.iter("Row")]
    assert rows[1] == ["1", str(np.count_nonzero(values == 1)), "Forest", "22", "152", "13"] and len(rows) == 7


def test_overviews_of_classes_have_the_majority_and_no_other_value(tmp_path):
    values = np.full((1100, 1100), 2, np.uint8)
    values[::2, ::2] = 3  # one pixel in four
    values[:600, 600:] = 255
    values[1::4, 601::4] = 5  # alone among no data
    write_map(tmp_path / "map.tif", values)
    half = overview(tmp_path / "map.tif", 0)
    assert np.unique(half[:, :300]).tolist() == [2]
    np.testing.assert_array_equal(half[:300, 300:], np.tile([[5, 255], [255, 255]], (150, 125)))


def test_percentages_have_no_colours_and_average_what_is_data(tmp_path):
    values = np.full((600, 600), 255, np.uint8)
    values[:, ::2] = 100
    values[::2, 1::2] = 40
    stale = tmp_path / "confidence.tif.aux.xml"
    stale.write_text("<PAMDataset/>")
    place = {"shape": values.shape, **PLACE}
    with new_map(tmp_path / "confidence.tif", **place, classes=None, bands=["a", "b"]) as draft:
        draft.write(0, 0, np.stack([values, values.T]))
    with rasterio.open(tmp_path / "confidence.tif") as file:
        with pytest.raises(ValueError, match="color"):
            file.colormap(1)
        assert file.descriptions == ("a (%)", "b (%)") and file.units == ("%", "%") and file.nodata == 255
        np.testing.assert_array_equal(file.read(2), values.T)
    assert np.unique(overview(tmp_path / "confidence.tif", 0)).tolist() == [80]  # (100 + 40 + 100) / 3
    assert not stale.exists() and cog_validate(tmp_path / "confidence.tif", quiet=True)[0]


def test_empty_ground_takes_no_room(tmp_path):
    values = np.full((6_100, 6_100), 255, np.uint8)
    values[:8, :8], values[6_092:, 6_092:] = 0, 1
    write_map(tmp_path / "map.tif", values)
    assert (tmp_path / "map.tif").stat().st_size < 20_000
    with rasterio.open(tmp_path / "map.tif") as file:
        np.testing.assert_array_equal(file.read(1), values)


@pytest.mark.parametrize("broken", ["_copy_to_cog", "check_written", "_sidecar"])
def test_a_failure_leaves_the_last_map_and_nothing_else(tmp_path, monkeypatch, broken):
    write_map(tmp_path / "map.tif", fields(30, 40))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    seen = []

    def fail(*_, **__):
        seen.extend(path.name for path in tmp_path.iterdir())
        raise OSError("no space left")

    monkeypatch.setattr(cog, broken, fail)
    with pytest.raises(OSError, match="no space left"):
        write_map(tmp_path / "map.tif", fields(40, 30))
    assert ".map.tif.part" in seen
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_ids_with_gaps_have_their_pixels_names_and_colours(tmp_path):
    """What GDAL, and so QGIS, understands of the file stands in the VRT that GDAL makes of it."""
    path = tmp_path / "map.tif"
    places = np.random.default_rng(1).integers(0, 5, (600, 530), np.uint8)
    places[:40, :40] = 255
    write_map(path, places, L3)
    ids = np.where(places == 255, 255, np.append(IDS, [0] * 251).astype(np.uint8)[places])
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(1), ids)
        colours, tags = file.colormap(1), file.tags()
        copy(file, tmp_path / "seen.vrt", driver="VRT")
    assert {entry.id: colours[entry.id] for entry in L3} == {entry.id: (*entry.colour, 255) for entry in L3}
    assert {key: tags[key] for key in tags if key.startswith("CLASS_")} == {f"CLASS_{c.id}": c.name for c in L3}
    assert set(np.unique(overview(path, 0))) <= {*IDS, 255}
    band = ET.parse(tmp_path / "seen.vrt").find("VRTRasterBand")
    names = [category.text for category in band.iter("Category")]
    assert len(names) == 40 and {k: name for k, name in enumerate(names) if name} == {c.id: c.name for c in L3}
    found = [[cell.text for cell in row] for row in band.iter("Row")]
    counts = [np.count_nonzero(ids == entry.id) for entry in L3]
    assert found == [[str(c.id), str(count), c.name, *map(str, c.colour)] for c, count in zip(L3, counts, strict=True)]
