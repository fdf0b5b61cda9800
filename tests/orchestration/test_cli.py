"""The command `cerraseg`, in process; tests/workflow/test_command.py runs it installed."""

import json

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
import yaml
from placed import read
from project import REPOSITORY
from region_rasters import write_region
from scenes import CERRADATA, write_model, write_raster, write_scene
from typer.testing import CliRunner

from cerraseg.cli import app
from cerraseg.config.validate import check_config
from cerraseg.geo.cog import new_map

RUN = CliRunner()


def called(*words, code=0):
    done = RUN.invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "model.pt")


def test_map_and_show(model, tmp_path):
    write_scene(tmp_path, 64, 80)
    told = called("map", model, "--msi", tmp_path / "msi.tif", "--sar", tmp_path / "sar.tif", "-o", tmp_path / "m.tif")
    assert str(tmp_path / "m.tif") in told.replace("\n", "") and read(tmp_path / "m.tif").shape == (64, 80)
    shown = json.loads(called("show", model, "--json"))
    assert shown["sensors"]["sar"] == ["VV", "VH"]
    assert all(one.name in called("show", model) for one in CERRADATA.classes("l1"))


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["map", "{model}", "--msi", "{scene}", "-o", "{out}"], 1, "has no sar image"),
        (["map", "{model}", "--dem", "{scene}", "-o", "{out}"], 1, "unknown key"),
        (["map", "{model}", "{scene}", "-o", "{out}"], 1, "expected --<sensor> FILE"),
        (["map", "nothing.pt", "--msi", "{scene}", "-o", "{out}"], 1, "no such file"),
        (["map", "{model}", "--msi", "{scene}"], 2, "--output"),
        (["export", "{model}", "{out}", "--format", "safetensors", "--deepness"], 1, "ONNX alone"),
        (["score", "{scene}", "{scene}"], 1, "no legend"),
        (["score", "{scene}", "labels.gpkg"], 1, "expected the attribute"),
    ],
)
def test_errors_are_in_words(model, tmp_path, words, code, said):
    write_scene(tmp_path, 64, 80)
    given = {"model": model, "scene": tmp_path / "msi.tif", "out": tmp_path / "out.tif"}
    assert said in called(*(word.format(**given) for word in words), code=code)
    assert not (tmp_path / "out.tif").exists()


def test_score_of_a_map_by_polygons_and_by_a_raster(tmp_path):
    legend = CERRADATA.classes("l1")
    mapped = np.zeros((1, 200, 300), np.uint8)
    mapped[:, :, 150:] = 1
    truth = mapped.copy()
    truth[:, :50, 150:] = 0
    write_raster(tmp_path / "truth.tif", truth)
    with rasterio.open(tmp_path / "truth.tif") as file:
        place = {"crs": file.crs, "transform": file.transform, "shape": file.shape}
        left, top = file.transform * (0, 0)
    with new_map(tmp_path / "map.tif", classes=legend, **place) as draft:
        draft.write(0, 0, mapped[0])
    found = json.loads(called("score", tmp_path / "map.tif", tmp_path / "truth.tif", "--json"))
    assert found["pixels"] == 200 * 300 and found["confusion"][0][:2] == [200 * 150, 50 * 150]
    assert found["accuracy"] == pytest.approx(1 - 7500 / 60000)
    first = found["classes"][0]
    assert first["hectares"] == pytest.approx(300, rel=0.01)
    assert first["adjusted_low"] <= first["adjusted_hectares"] <= first["adjusted_high"]
    boxes = [shapely.box(left, top - 2000, left + 1500, top), shapely.box(left + 1500, top - 2000, left + 3000, top)]
    names = np.array([legend[0].name, legend[1].name], object)
    pyogrio.raw.write(
        tmp_path / "fields.gpkg",
        shapely.to_wkb(boxes),
        [names],
        ["crop"],
        geometry_type="Polygon",
        crs="EPSG:32722",
    )
    found = json.loads(called("score", tmp_path / "map.tif", tmp_path / "fields.gpkg", "--field", "crop", "--json"))
    assert found["accuracy"] == 1 and legend[0].name in called(
        "score", tmp_path / "map.tif", tmp_path / "fields.gpkg", "--field", "crop"
    )


def test_init_writes_a_valid_project(tmp_path, monkeypatch):
    region = write_region(tmp_path / "data")
    files = {path.name: path for path in region.folder.rglob("*")}
    words = ["init", tmp_path / "mine", "--msi", files["s2.tif"], "--labels", files["fields.gpkg"], "--field", "crop"]
    told = called(*words)
    assert "soja" in told and "snakemake" in told
    config = yaml.safe_load((tmp_path / "mine/config/config.yaml").read_text())
    monkeypatch.chdir(tmp_path / "mine")
    schema = yaml.safe_load((REPOSITORY / "workflow/schemas/config.schema.yaml").read_text())
    checked, scenarios = check_config(config, schema)
    assert "fullres-msi-nw-classes-tuned-1" in {one.id for one in scenarios}
    assert [one["name"] for one in checked["dataset"]["levels"]["classes"]["classes"]] == sorted(
        ["mata", "pasto", "soja", "milho", "agua"]
    )
    assert "not empty" in called(*words, code=1)


def test_doctor_tells_the_versions():
    found = json.loads(called("doctor", "--json"))
    assert {"cerraseg", "torch", "GDAL", "GPU", "disk free here"} <= set(found)


def test_version():
    assert called("--version").strip()
