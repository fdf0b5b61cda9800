"""A dataset description is read from a name, a file or values, completed, and refused with the key that is wrong."""

import copy

import pytest
import yaml

from cerraseg.config.dataset import BUILT_IN, Dataset
from cerraseg.config.descriptions import colour_at, load_dataset, paths
from cerraseg.core.errors import ConfigError

FOREIGN = {
    "name": "My region",
    "patch_size": 64,
    "sensors": {
        "msi": {"bands": ["B02", "B03", "B04", "B08"], "true_colour": ["B04", "B03", "B02"]},
        "dem": {"bands": ["elevation"], "folders": ["dem"], "title": "Elevation"},
    },
    "levels": {
        "l1": {
            "classes": [{"id": 3, "name": "Natural", "colour": "#1A7D2F"}, {"id": 15, "name": "Used"}],
            "ignore": [0, -1],
        },
        "l2": {
            "folders": ["fine"],
            "classes": [
                {"id": 24, "name": "Woodland", "parent": 3},
                {"id": 33, "name": "Wetland", "parent": 3},
                {"id": 39, "name": "Soy", "abbreviation": "Wo", "parent": 15},
            ],
        },
    },
}


def changed(**changes):
    """Values with other ones at keys such as ``levels__l1__classes__0__id``; ``None`` takes the key out."""
    values = copy.deepcopy(FOREIGN)
    for path, value in changes.items():
        *parents, key = [int(part) if part.isdigit() else part for part in path.split("__")]
        part = values
        for parent in parents:
            part = part[parent]
        if value is None:
            del part[key]
        else:
            part[key] = value
    return values


def test_built_in_description_is_the_same_by_name_file_and_values(tmp_path):
    built_in = Dataset.of("cerradata-4mm")
    assert load_dataset("cerradata-4mm", tmp_path) == built_in
    assert load_dataset(str(BUILT_IN["cerradata-4mm"]), tmp_path) == built_in
    assert load_dataset(built_in.as_dict(), tmp_path) == built_in
    assert paths("cerradata-4mm", tmp_path) == []


def test_values_are_completed(tmp_path):
    dataset = load_dataset(FOREIGN, tmp_path)
    assert dataset.patch_size == 64 and dataset.bands() == ("B02", "B03", "B04", "B08", "elevation")
    assert dataset.sensors["msi"].folders == () and dataset.sensors["msi"].title == "msi"
    assert dataset.levels["l1"].ignore == (0, -1)
    natural, used = dataset.classes("l1")
    assert natural == (3, "Na", "Natural", (26, 125, 47), None)
    assert used == (15, "Us", "Used", (86, 180, 233), None)  # the palette's second
    fine = dataset.classes("l2")
    assert [entry.abbreviation for entry in fine] == ["Wd", "We", "Wo"]  # Wo and then We are taken
    assert dataset.ancestors("l2") == {"l1": (0, 0, 1)}


def test_abbreviation_falls_back_to_the_id(tmp_path):
    classes = [{"id": 7, "name": "A"}, {"id": 8, "name": "Aa"}, {"id": 9, "name": "AA a", "abbreviation": "Aa"}]
    values = changed(levels={"l1": {"classes": classes}})
    assert [entry.abbreviation for entry in load_dataset(values, tmp_path).classes("l1")] == ["7", "8", "Aa"]


def test_palette_has_a_colour_of_its_own_for_each_of_200_classes():
    colours = [colour_at(place) for place in range(200)]
    assert colours[:2] == ["#e69f00", "#56b4e9"] and colours[16] == "#e9ab1f"
    assert len(set(colours)) == 200


def test_file_and_its_legends_are_found_from_the_files_folder(tmp_path, monkeypatch):
    folder = tmp_path / "described"
    folder.mkdir()
    (folder / "coarse.csv").write_text("id,name\n3,Natural\n15,Used\n")
    (tmp_path / "fine.csv").write_text("id,name,colour\n24,Woodland,#010203\n")
    values = changed(levels__l1__classes="coarse.csv", levels__l2={"classes": "$LEGENDS/fine.csv"})
    (folder / "mine.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    monkeypatch.setenv("LEGENDS", "..")
    dataset = load_dataset("described/mine.yaml", tmp_path)
    assert dataset.levels["l1"].ids == (3, 15)
    assert dataset.classes("l2") == ((24, "Wo", "Woodland", (1, 2, 3), None),)
    read = paths("described/mine.yaml", tmp_path)
    assert [path.resolve() for path in read] == [folder / "mine.yaml", folder / "coarse.csv", tmp_path / "fine.csv"]
    assert paths(values, folder) == read[1:]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (changed(patch_size=8), "dataset.patch_size: 8"),
        (changed(patch_size=64.5), "dataset.patch_size: 64.5"),
        (changed(name="a|b"), "dataset.name"),
        (changed(name=None), "dataset.name: missing"),
        (changed(colour="x"), "dataset.colour: unknown key"),
        (changed(sensors__msi__band=["a"]), "dataset.sensors.msi.band: unknown key; did you mean 'bands'"),
        (changed(sensors__Msi={"bands": ["a"]}), "dataset.sensors.Msi"),
        (changed(sensors__concat={"bands": ["a"]}), "dataset.sensors.concat"),
        (changed(sensors__mask={"bands": ["a"]}), "dataset.sensors.mask"),
        (changed(levels__dem={"classes": [{"id": 1, "name": "a"}]}), "dataset.levels.dem"),
        (changed(levels__edge_l1={"classes": [{"id": 1, "name": "a"}]}), "dataset.levels.edge_l1"),
        (changed(sensors__dem__bands=["b02"]), "dataset.sensors.dem.bands: 'b02' is also a band of msi"),
        (changed(sensors__msi__true_colour=["B04", "B03", "B2"]), "dataset.sensors.msi.true_colour: 'B2'"),
        (
            changed(sensors__msi__true_colour=["B04", "B03"]),
            "dataset.sensors.msi.true_colour: ['B04', 'B03']",
        ),
        (changed(levels__l1__classes__0__id=300), "dataset.levels.l1.classes.0.id: 300 is greater"),
        (changed(levels__l1__classes__0__id="3a"), "dataset.levels.l1.classes.0.id: '3a'"),
        (changed(levels__l1__classes__1__id=3), "dataset.levels.l1.classes: 3 is the id of 2 classes"),
        (changed(levels__l1__classes__1__id=0), "dataset.levels.l1.classes.1.id: 0 is also in ignore"),
        (changed(levels__l1__classes__1__name=None), "dataset.levels.l1.classes.1.name: missing"),
        (changed(levels__l1__classes__1__name="Natural"), "dataset.levels.l1.classes: 'Natural' is the name of"),
        (changed(levels__l1__classes__1__colour="red"), "dataset.levels.l1.classes.1.colour: 'red'"),
        (changed(levels__l1__classes__1__parent=3), "dataset.levels.l1.classes.0.parent: missing; expected no level"),
        (changed(levels__l2__classes__1__parent=None), "dataset.levels.l2.classes.1.parent: missing"),
        (changed(levels__l2__classes__1__parent=4), "dataset.levels.l2.classes.1.parent: 4; expected an id of"),
        (changed(levels__l2__classes__1__abbreviation="Wo"), "dataset.levels.l2.classes: 'Wo' is the abbreviation of"),
        (changed(levels__l2__classes=[]), "dataset.levels.l2.classes"),
        (
            changed(levels__l2__classes=[{"id": k, "name": str(k)} for k in range(201)]),
            "; 1 to 200 classes",
        ),
        (changed(levels__l2__classes="none.csv"), "dataset.levels.l2.classes: none.csv: cannot be read"),
        ("cerradata-4m", "dataset: 'cerradata-4m': no such file and no built-in name; did you mean 'cerradata-4mm'"),
        (None, "dataset: None"),
    ],
)
def test_faults_are_refused_with_their_key(values, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load_dataset(values, tmp_path.relative_to(tmp_path))
    assert named in str(caught.value)


def test_key_given_twice_is_refused_with_its_line(tmp_path):
    (tmp_path / "a.yaml").write_text("name: a\nname: b\n")
    with pytest.raises(ConfigError, match="line 2"):
        load_dataset("a.yaml", tmp_path)
