"""What is written of a scene and its reference, and scenes that are not in the units of training."""

import hashlib
import json

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from scenes import CERRADATA, CORNER, TRAINED, UTM, pixels, scene_files, write_raster, write_scene

from cerraseg.config.dataset import Dataset
from cerraseg.core.errors import DataError
from cerraseg.geo.grids import Grid
from cerraseg.mapping.scene import open_scene
from cerraseg.mapping.scene_check import fitting_scale, read_scaled, survey, write_picture, write_reference

GRID = Grid(rasterio.CRS.from_string(UTM), CORNER, (70, 90))
MSI, SAR = (CERRADATA.sensors[name].bands for name in ("msi", "sar"))
SPARSE = Dataset.of(
    {
        "name": "sparse",
        "patch_size": 64,
        "sensors": {"msi": {"bands": ["red", "nir"]}},
        "levels": {
            "coarse": {"classes": [{"id": 10}, {"id": 200}]},
            "fine": {
                "classes": [{"id": 39, "parent": 10}, {"id": 3, "parent": 200}, {"id": 15, "parent": 10}],
                "ignore": [0],
            },
        },
    }
)


def look(files, folder, modality="concat", scale=True):
    sensors = CERRADATA.sensors_of(modality)
    return survey(files, sensors, TRAINED, folder / "scene.json", resampling="bilinear", scale=scale)


def facts_in(folder):
    return json.loads((folder / "scene.json").read_text())


def test_facts_of_a_scene(tmp_path):
    files = write_scene(tmp_path, 70, 90)
    assert look(files, tmp_path) == GRID
    facts = facts_in(tmp_path)
    assert (facts["crs"], facts["shape"], facts["warped"], "scaled" in facts) == (UTM, [70, 90], False, False)
    assert facts["transform"] == [10, 0, 600000, 0, -10, 8300000]
    assert facts["sha256"]["sar"] == hashlib.sha256((tmp_path / "sar.tif").read_bytes()).hexdigest()
    assert facts["bands"]["VV"]["max"] == pixels("sar", 70, 90)[0].max()
    assert facts["bands"]["VV"]["training"] == {"mean": 100, "min": 1, "max": 900}
    look(files, tmp_path, "sar")
    assert list(facts_in(tmp_path)["bands"]) == list(SAR)


def test_a_refused_scene_leaves_nothing(tmp_path):
    files = write_scene(tmp_path, 70, 90)
    write_raster(tmp_path / "sar.tif", -pixels("sar", 70, 90), SAR)
    with pytest.raises(DataError, match=r"sar bands .* decibels.* VV .* maps.check_scale"):
        look(files, tmp_path)
    assert not (tmp_path / "scene.json").exists()
    look(files, tmp_path, "sar", scale=False)
    assert (tmp_path / "scene.json").exists()
    write_raster(tmp_path / "sar.tif", pixels("sar", 70, 90) * np.nan, SAR)
    with pytest.raises(DataError, match="no pixel with data"):
        look(files, tmp_path)


def tagged(path, image, scale, offset=0.0):
    write_raster(path, image, MSI)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = [scale] * 12, [offset] * 12
    return scene_files(msi=path)


def test_a_scale_that_the_file_declares_is_applied_if_that_gives_the_units_of_training(tmp_path):
    """Stored as in training, with the factor to reflectance declared; and the reverse."""
    image = pixels("msi", 70, 90)
    for stored, scale, applied in ((image, 1e-4, False), (image / 1e-4, 1e-4, True)):
        files = tagged(tmp_path / "msi.tif", stored, scale)
        look(files, tmp_path, "msi")
        scaled = read_scaled(tmp_path / "scene.json")
        assert scaled == facts_in(tmp_path)["scaled"] == {"msi": applied}
        assert facts_in(tmp_path)["bands"]["B01"]["mean"] == pytest.approx(image[0].mean(), rel=1e-5)
        with open_scene(files, CERRADATA.sensors_of("msi"), "bilinear", scaled) as scene:
            np.testing.assert_allclose(scene.sample(), image.reshape(12, -1), rtol=1e-5)
    with pytest.raises(DataError, match=r"msi bands .* 0 to 10,000"):
        look(tagged(tmp_path / "msi.tif", image / 1e4, 1.0, 1e-6), tmp_path, "msi")


def test_a_checkpoint_of_other_units_decides_for_itself(tmp_path):
    """Case 17: what this run's patches pass need not pass those that another model was trained on."""
    sensors = CERRADATA.sensors_of("msi")
    reflectance = {band: {key: value / 1e4 for key, value in of.items()} for band, of in TRAINED.items()}
    files = tagged(tmp_path / "msi.tif", pixels("msi", 70, 90), 1e-4)
    assert fitting_scale(files, sensors, TRAINED, resampling="bilinear") == {"msi": False}
    assert fitting_scale(files, sensors, reflectance, resampling="bilinear", scaled={"msi": False}) == {"msi": True}
    plain = scene_files(msi=write_raster(tmp_path / "plain.tif", pixels("msi", 70, 90), MSI))
    with pytest.raises(DataError, match=r"0 to 10,000 against 0 to 1.*B01 .* training"):
        fitting_scale(plain, sensors, reflectance, resampling="bilinear")
    assert fitting_scale(plain, sensors, {}, resampling="bilinear") == {"msi": True}


def test_values_far_outside_the_range_are_told(tmp_path, caplog):
    image = pixels("msi", 70, 90)
    image[4] += 9000
    look(scene_files(msi=write_raster(tmp_path / "msi.tif", image, MSI)), tmp_path, "msi")
    assert "the means of B05 lie more than 3" in caplog.text


def reference(folder, mask, level, dataset=CERRADATA, **georeference):
    path = write_raster(folder / "reference.tif", mask[None], **georeference)
    write_reference("s", path, level, dataset, GRID, folder, tags={"SCENE": "s"}, threads=1)


def truth(folder, level):
    with rasterio.open(folder / level / "truth.tif") as file:
        assert (file.crs, file.transform, file.shape, file.nodata) == (GRID.crs, GRID.transform, GRID.shape, 255)
        return file.read(1)


def test_a_reference_serves_the_coarser_levels(tmp_path):
    mask = np.random.default_rng(0).integers(0, 14, (70, 90)).astype(np.int32)
    mask[:5] = 255
    reference(tmp_path, mask, "l2")
    np.testing.assert_array_equal(truth(tmp_path, "l2"), mask)
    parents = np.array([entry.parent for entry in CERRADATA.classes("l2")])
    np.testing.assert_array_equal(truth(tmp_path, "l1")[5:], parents[mask[5:]])
    assert (truth(tmp_path, "l1")[:5] == 255).all()


def test_ids_with_gaps_stay_as_they_are(tmp_path):
    mask = np.array([0, 3, 15, 39, 255], "u1")[np.random.default_rng(0).integers(0, 5, (70, 90))]
    reference(tmp_path, mask, "fine", SPARSE)
    np.testing.assert_array_equal(truth(tmp_path, "fine"), np.where(mask == 0, 255, mask))
    coarse = np.select([mask == 3, (mask == 15) | (mask == 39)], [200, 10], 255)
    np.testing.assert_array_equal(truth(tmp_path, "coarse"), coarse)


def test_a_reference_on_another_grid_is_brought_to_the_scene(tmp_path):
    """One of 20 m that covers the western half, with a no-data value of its own; and one south-up."""
    mask = np.random.default_rng(0).integers(1, 7, (35, 22)).astype(np.uint8)
    mask[3, 4] = 0
    reference(tmp_path, mask, "l1", transform=from_origin(600000, 8300000, 20, 20), nodata=0)
    wanted = np.full((70, 90), 255)
    wanted[:, :44] = np.where(mask == 0, 255, mask).repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(truth(tmp_path, "l1"), wanted)
    assert not (tmp_path / "l2").exists()
    reference(tmp_path, mask[::-1], "l1", transform=from_origin(600000, 8299300, 20, -20), nodata=0)
    np.testing.assert_array_equal(truth(tmp_path, "l1"), wanted)


def test_unusable_references_are_refused(tmp_path):
    mask = np.full((70, 90), 9, np.uint8)
    mask[3] = 254
    with pytest.raises(DataError, match=r"reference: values 9 .* 254 .*; expected .*l1, 0, 1, 2, 3, 4, 5, 6, or"):
        reference(tmp_path, mask, "l1")
    with pytest.raises(DataError, match="beside"):
        reference(tmp_path, np.zeros((70, 90), np.uint8), "l1", transform=from_origin(0, 0, 10, 10))
    assert not list(tmp_path.rglob("truth.tif"))


def test_the_picture_is_of_the_sensor_with_true_colour(tmp_path):
    files = write_scene(tmp_path, 70, 90)
    write_picture(files, CERRADATA, tmp_path / "image.tif", tags={"SCENE": "s"})
    with rasterio.open(tmp_path / "image.tif") as file:
        assert (file.tags()["BANDS"], file.shape, file.crs) == ("B04, B03, B02", (70, 90), GRID.crs)
        order = np.argsort(pixels("msi", 70, 90)[3].ravel())
        assert (np.diff(file.read(1).ravel()[order].astype(int)) >= 0).all()
    path = write_raster(tmp_path / "x.tif", pixels("sar", 70, 90), ("red", "nir"))
    write_picture(scene_files(msi=path), SPARSE, tmp_path / "two.tif", tags={})
    with rasterio.open(tmp_path / "two.tif") as file:
        assert file.tags()["BANDS"] == "red, nir, nir"
