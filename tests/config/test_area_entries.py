"""Entries of areas and scenes are brought to one form, and refused with the key that is wrong."""

import json

import pytest

from cerraseg.config.areas import check_areas, check_scene
from cerraseg.config.dataset import Dataset
from cerraseg.config.entries import area_layers, files_of, labelled_levels
from cerraseg.core.errors import ConfigError

FOREIGN = Dataset.of(
    {
        "name": "My region",
        "patch_size": 64,
        "sensors": {"msi": {"bands": ["B02", "B03"]}, "sar": {"bands": ["VV"]}, "dem": {"bands": ["elevation"]}},
        "levels": {
            "l1": {"classes": [{"id": 3}, {"id": 15}]},
            "l2": {
                "classes": [{"id": 24, "parent": 3}, {"id": 33, "parent": 3}, {"id": 39, "parent": 15}],
                "ignore": [0],
            },
        },
    }
)
CERRADATA = Dataset.of("cerradata-4mm")
PLAIN = {"bands": [], "nodata": None, "mask": None}
CLOUDS = {"file": "scl.tif", "values": [0, 8]}


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.tif", "b.tif", "c.vrt", "scl.tif", "l1.tif", "l2.TIF", "fields.gpkg"):
        (tmp_path / name).touch()
    (tmp_path / "S2A.SAFE").mkdir()


def area(**keys):
    entry = {"name": "north", "msi": "a.tif", "labels": "l2.TIF"} | keys
    return check_areas([entry], FOREIGN, must_exist=True)[0]


def test_every_spelling_of_an_image_has_one_form(monkeypatch):
    monkeypatch.setenv("IMAGES", ".")
    full = {"files": "b.tif", "bands": ["VV"], "nodata": -1, "mask": CLOUDS}
    images = area(dem="S2A.SAFE", sar=full, msi=["a.tif", "$IMAGES/b.tif"], msi_bands=["B03", "B02"])["images"]
    assert list(images) == ["msi", "sar", "dem"]  # the dataset's order
    assert images == {
        "msi": PLAIN | {"files": ["a.tif", "./b.tif"], "bands": ["B03", "B02"]},
        "sar": full | {"files": ["b.tif"]},
        "dem": PLAIN | {"files": ["S2A.SAFE"]},
    }
    json.dumps(images)


def test_nodata_and_mask_of_an_entry_are_those_of_its_images():
    images = area(sar={"files": "c.vrt", "nodata": 5, "mask": CLOUDS | {"values": [1]}}, nodata=0, mask=CLOUDS)[
        "images"
    ]
    assert images["msi"] == PLAIN | {"files": ["a.tif"], "nodata": 0, "mask": CLOUDS}
    assert images["sar"] == PLAIN | {"files": ["c.vrt"], "nodata": 5, "mask": CLOUDS | {"values": [1]}}


def test_labels_are_of_the_finest_level_or_of_the_named_ones():
    raster = {"file": "l2.TIF", "layer": None, "field": None, "classes": {}}
    assert area()["labels"] == {"l2": raster}
    both = area(labels={"l2": "fields.gpkg", "l1": {"file": "l1.tif", "classes": {"1": 3}}}, field="crop", layer="a")
    assert list(both["labels"]) == ["l1", "l2"]
    assert both["labels"]["l1"] == raster | {"file": "l1.tif", "classes": {"1": 3}}
    assert both["labels"]["l2"] == {"file": "fields.gpkg", "layer": "a", "field": "crop", "classes": {}}
    soy = area(labels="fields.gpkg", field="crop", classes={"soy": 39, "rock": 0, "unsure": 255})["labels"]["l2"]
    assert soy["classes"] == {"soy": 39, "rock": 0, "unsure": 255}


def test_levels_and_layers_of_areas():
    assert labelled_levels(["l2"], FOREIGN) == {"l1": "l2", "l2": "l2"}
    assert labelled_levels(["l1"], FOREIGN) == {"l1": "l1"}
    assert labelled_levels(["l1", "l2"], FOREIGN) == {"l1": "l1", "l2": "l2"}
    north, south = area(sar="b.tif"), area(labels={"l1": "l1.tif"}, dem="b.tif", sar="c.vrt")
    assert area_layers([north], FOREIGN) == {"msi", "sar", "l1", "l2"}
    assert area_layers([north, south], FOREIGN) == {"msi", "sar", "l1"}


def test_files_of_an_entry():
    assert files_of(area(sar=["b.tif", "c.vrt"], mask=CLOUDS)) == [
        *("a.tif", "b.tif", "c.vrt"),
        *("scl.tif", "scl.tif"),
        "l2.TIF",
    ]


def test_same_entry_maps_the_area():
    entry = {"name": "north", "msi": "a.tif", "labels": "l2.TIF", "date": "2024-01-31", "scenarios": ["x"]}
    scene = check_scene(entry, FOREIGN, must_exist=True)
    prepared = check_areas([entry], FOREIGN, must_exist=True)[0]
    further = {"date": "2024-01-31", "scenarios": ["x"]}
    assert scene == prepared | further | {"reference": "l2.TIF", "reference_level": "l2"}
    vector = check_scene(entry | {"labels": "fields.gpkg", "field": "crop"}, FOREIGN, must_exist=True)
    assert "reference" not in vector and vector["labels"]["l2"]["field"] == "crop"


def test_scenes_of_before_keep_their_keys():
    entry = {"name": "a", "msi": "a.tif", "sar": "b.tif", "sar_bands": ["VH", "VV"], "reference": "l1.tif"}
    scene = check_scene(entry, CERRADATA, must_exist=True)
    assert scene["images"]["sar"] == PLAIN | {"files": ["b.tif"], "bands": ["VH", "VV"]}
    assert (scene["reference"], scene["reference_level"]) == ("l1.tif", "l1")
    scene = check_scene(entry | {"reference_level": "l2"}, CERRADATA, must_exist=True)
    assert scene["reference_level"] == "l2" and list(scene["labels"]) == ["l2"]
    assert check_scene({"name": "a", "msi": "a.tif"}, CERRADATA, must_exist=True) == {
        "name": "a",
        "images": {"msi": PLAIN | {"files": ["a.tif"]}},
        "labels": {},
    }


def test_files_need_not_exist_once_packed_or_made_by_the_run():
    entry = {"name": "a", "msi": "no.tif", "labels": "l2.TIF"}
    assert check_areas([entry], FOREIGN, must_exist=False)[0]["images"]["msi"]["files"] == ["no.tif"]
    assert check_scene(entry, FOREIGN, must_exist=True, made=["no.tif"])["images"]["msi"]["files"] == ["no.tif"]


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"mis": "a.tif"}, "areas.north.mis: unknown key; did you mean 'msi'"),
        ({"msi": "no.tif"}, "areas.north: no.tif: no such file"),
        ({"msi": "$NOT_SET_HERE/a.tif"}, "areas.north.msi: $NOT_SET_HERE"),
        ({"mask": {"file": "no.tif", "values": [1]}}, "areas.north: no.tif"),
        ({"labels": {"l3": "l2.TIF"}}, "areas.north.labels: 'l3'"),
        ({"labels": "no.tif"}, "areas.north: no.tif"),
        ({"labels": "fields.gpkg"}, "areas.north.labels: fields.gpkg holds polygons"),
        ({"classes": {"soy": 3}}, "areas.north.labels: classes gives 'soy' the id 3, which level l2 has not"),
    ],
)
def test_faults_are_refused_with_their_key(keys, named):
    with pytest.raises(ConfigError) as caught:
        area(**keys)
    assert str(caught.value).startswith(named)


def test_an_area_has_an_image():
    with pytest.raises(ConfigError, match=r"^areas\.a: no image"):
        check_areas([{"name": "a", "labels": "l2.TIF"}], FOREIGN, must_exist=True)
