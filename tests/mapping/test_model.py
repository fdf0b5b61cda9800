"""A model in hand: the public interface, from one file to arrays and maps."""

import json
import subprocess
import sys

import numpy as np
import pytest
import rasterio
import torch
from placed import read
from scenes import CERRADATA, TRAINED, pixels, write_model, write_raster, write_scene

import cerraseg
from cerraseg.core.errors import ConfigError, DataError
from cerraseg.mapping.map_scene import Settings, map_scene
from cerraseg.mapping.model_item import write_model_item
from cerraseg.models import checkpoint

SIDE = (150, 200)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return cerraseg.load(write_model(tmp_path_factory.mktemp("model") / "model.pt"), "cpu")


def image():
    return np.concatenate([pixels("msi", *SIDE), pixels("sar", *SIDE)])


def test_the_interface_is_what_it_says():
    assert set(cerraseg.__all__) <= set(dir(cerraseg))
    assert all(getattr(cerraseg, name) for name in cerraseg.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = cerraseg.nothing


def test_import_loads_neither_torch_nor_rasterio():
    code = (
        "import cerraseg, cerraseg.cli, sys; print(sorted({'torch', 'rasterio', 'pandas', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_array_and_map_have_the_pixels_of_the_workflow(model, tmp_path):
    files = write_scene(tmp_path, *SIDE)
    map_scene(model.file, files, tmp_path / "map", tmp_path / "rows", Settings(), CERRADATA, {})
    out = model.map(
        tmp_path / "msi.tif",
        sar=tmp_path / "sar.tif",
        out=tmp_path / "own/map.tif",
        confidence=tmp_path / "own/confidence.tif",
        layers={"probabilities": tmp_path / "own/p.tif"},
    )
    found = model.predict(image())
    np.testing.assert_array_equal(read(out), read(tmp_path / "map/classes.tif"))
    np.testing.assert_array_equal(read(tmp_path / "own/confidence.tif"), read(tmp_path / "map/confidence.tif"))
    np.testing.assert_array_equal(found.classes, read(out))
    np.testing.assert_array_equal(found.confidence, read(tmp_path / "own/confidence.tif"))
    np.testing.assert_array_equal((found.probabilities * 100).round(), read(tmp_path / "own/p.tif"))
    assert sorted(path.name for path in (tmp_path / "own").iterdir()) == [
        "confidence.tif",
        "map.tif",
        "map.tif.aux.xml",
        "p.tif",
    ]
    with rasterio.open(out) as file:
        assert file.tags()["CLASS_1"] == model.legend[1].name and file.colormap(1)[1][:3] == model.legend[1].colour


def test_pixels_without_data_have_no_class(model):
    holed = image()
    holed[3, :20, :30] = np.nan
    found = model.predict(holed)
    assert (found.classes[:20, :30] == 255).all() and (found.confidence[:20, :30] == 255).all()
    assert np.isnan(found.probabilities[:, :20, :30]).all() and np.isfinite(found.probabilities[:, 20:]).all()
    assert (found.classes[20:] != 255).all()


def test_coarser_levels_lie_beside_the_map(tmp_path):
    model = cerraseg.load(write_model(tmp_path / "model.pt", level="l2", hierarchical=True), "cpu")
    write_scene(tmp_path, 64, 64)
    model.map(tmp_path / "msi.tif", sar=tmp_path / "sar.tif", out=tmp_path / "map.tif")
    parents = np.array(CERRADATA.ancestors("l2")["l1"])
    np.testing.assert_array_equal(read(tmp_path / "map_l1.tif"), parents[read(tmp_path / "map.tif")])


def test_each_misuse_is_told(model, tmp_path):
    write_scene(tmp_path, *SIDE)
    with pytest.raises(DataError, match=r"expected \(14, height, width\)"):
        model.predict(image()[:12])
    with pytest.raises(DataError, match="10,000 times"):
        model.predict(np.concatenate([pixels("msi", *SIDE) / 1e4, pixels("sar", *SIDE)]))
    with pytest.raises(DataError, match="decibels"):
        model.predict(np.concatenate([pixels("msi", *SIDE), 10 * np.log10(pixels("sar", *SIDE) / 1e4)]))
    with pytest.raises(DataError, match="has no sar image"):
        model.map(tmp_path / "msi.tif", out=tmp_path / "map.tif")
    with pytest.raises(ConfigError, match="dem: unknown key"):
        model.map(tmp_path / "msi.tif", dem=tmp_path / "sar.tif", out=tmp_path / "map.tif")
    few = write_raster(tmp_path / "few.tif", pixels("msi", *SIDE)[:11], CERRADATA.bands("msi")[:11])
    with pytest.raises(DataError, match="B12"):
        model.map(few, sar=tmp_path / "sar.tif", out=tmp_path / "map.tif")
    assert not (tmp_path / "map.tif").exists()


@pytest.mark.parametrize("damage", ["cut", "other", "missing"])
def test_file_that_is_no_checkpoint_is_told(model, tmp_path, damage):
    path = tmp_path / "model.pt"
    if damage != "missing":
        whole = model.file.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"GIF89a" * 100)
    with pytest.raises(DataError, match="expected"):
        cerraseg.load(path)


def test_old_checkpoint_without_statistics_maps_with_a_warning(model, tmp_path, caplog):
    content = torch.load(model.file, weights_only=True)
    for key in ("dataset", "statistics", "calibration"):
        content["blueprint"].pop(key)
    checkpoint.atomic_save(tmp_path / "old.pt", content)
    old = cerraseg.load(tmp_path / "old.pt", "cpu")
    np.testing.assert_array_equal(old.predict(image()).classes, model.predict(image()).classes)
    assert "units of the image are not checked" in caplog.text


def test_summary_and_model_item_tell_what_the_model_is(model, tmp_path):
    summary = json.loads(json.dumps(model.summary()))
    assert summary["sensors"] == {name: list(CERRADATA.bands(name)) for name in ("msi", "sar")}
    assert [one["name"] for one in summary["classes"]] == [one.name for one in CERRADATA.classes("l1")]
    assert summary["statistics"]["B02"] == TRAINED["B02"]
    write_model_item(model.file, tmp_path / "item.json")
    item = json.loads((tmp_path / "item.json").read_text())
    assert item["properties"]["mlm:input"][0]["bands"] == list(model.bands)
    output = item["properties"]["mlm:output"][0]
    assert output["result"]["shape"] == [-1, 7, 128, 128]
    assert [one["value"] for one in output["classification:classes"]] == list(range(7))


def test_device_that_is_not_there_is_told(model):
    with pytest.raises(DataError, match="device nonsense"):
        cerraseg.load(model.file, "nonsense")
