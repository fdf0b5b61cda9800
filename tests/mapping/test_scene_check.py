"""What is written of a scene and its reference, and scenes that are not on the scale of training."""

import hashlib
import json

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from scenes import CORNER, TRAINED, UTM, pixels, write_raster, write_scene

from cerraseg.core.errors import DataError
from cerraseg.core.taxonomy import LEVELS, MODALITIES, MSI_BANDS, SAR_BANDS
from cerraseg.mapping.scene import SceneGrid
from cerraseg.mapping.scene_check import check_scale, survey, write_reference

GRID = SceneGrid(rasterio.CRS.from_string(UTM), CORNER, (70, 90))
DECIBELS = {band: {"mean": -14.0, "std": 4.0, "min": -40.0, "max": 20.0} for band in SAR_BANDS}


def look(files, folder, modality="concat", scale=True):
    return survey(files, modality, TRAINED, folder / "scene.json", resampling="bilinear", scale=scale)


def test_facts_of_a_scene(tmp_path):
    files = write_scene(tmp_path, 70, 90)
    assert look(files, tmp_path) == GRID
    facts = json.loads((tmp_path / "scene.json").read_text())
    assert (facts["crs"], facts["shape"], facts["warped"]) == (UTM, [70, 90], False)
    assert facts["transform"] == [10, 0, 600000, 0, -10, 8300000]
    assert facts["sha256"]["sar"] == hashlib.sha256(files.sar.read_bytes()).hexdigest()
    assert facts["bands"]["VV"]["max"] == pixels("sar", 70, 90)[0].max()
    assert facts["bands"]["VV"]["training"] == {"mean": 100, "min": 1, "max": 900}
    look(files, tmp_path, "sar")
    assert list(json.loads((tmp_path / "scene.json").read_text())["bands"]) == list(SAR_BANDS)


def test_a_refused_scene_leaves_nothing(tmp_path):
    files = write_scene(tmp_path, 70, 90)
    write_raster(files.sar, -pixels("sar", 70, 90), SAR_BANDS)
    with pytest.raises(DataError, match="decibels"):
        look(files, tmp_path)
    assert not (tmp_path / "scene.json").exists()
    look(files, tmp_path, "sar", scale=False)
    assert (tmp_path / "scene.json").exists()
    write_raster(files.sar, pixels("sar", 70, 90) * np.nan, SAR_BANDS)
    with pytest.raises(DataError, match="no pixel with data"):
        look(files, tmp_path)


def reference(folder, mask, level, **georeference):
    path = write_raster(folder / "reference.tif", mask[None], **georeference)
    write_reference("s", path, level, GRID, folder, tags={"SCENE": "s"}, threads=1)


def truth(folder, level):
    with rasterio.open(folder / level / "truth.tif") as file:
        assert (file.crs, file.transform, file.shape, file.nodata) == (GRID.crs, GRID.transform, GRID.shape, 255)
        return file.read(1)


def test_a_reference_of_l2_serves_both_levels(tmp_path):
    mask = np.random.default_rng(0).integers(0, 14, (70, 90)).astype(np.int32)
    mask[:5] = 255
    reference(tmp_path, mask, "l2")
    np.testing.assert_array_equal(truth(tmp_path, "l2"), mask)
    parents = np.array([entry.parent for entry in LEVELS["l2"]])
    np.testing.assert_array_equal(truth(tmp_path, "l1")[5:], parents[mask[5:]])
    assert (truth(tmp_path, "l1")[:5] == 255).all()


def test_a_reference_on_another_grid_is_brought_to_the_scene(tmp_path):
    """One of 20 m that covers the western half, with a no-data value of its own."""
    mask = np.random.default_rng(0).integers(1, 7, (35, 22)).astype(np.uint8)
    mask[3, 4] = 0
    reference(tmp_path, mask, "l1", transform=from_origin(600000, 8300000, 20, 20), nodata=0)
    wanted = np.full((70, 90), 255)
    wanted[:, :44] = np.where(mask == 0, 255, mask).repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(truth(tmp_path, "l1"), wanted)
    assert not (tmp_path / "l2").exists()


def test_unusable_references_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"value 9; expected .* 0 to 6"):
        reference(tmp_path, np.full((70, 90), 9, np.uint8), "l1")
    with pytest.raises(DataError, match="beside the scene"):
        reference(tmp_path, np.zeros((70, 90), np.uint8), "l1", transform=from_origin(0, 0, 10, 10))
    assert not list(tmp_path.rglob("truth.tif"))


def flat(modality):
    return pixels(modality, 30, 30).reshape(len(MODALITIES[modality]), -1)


@pytest.mark.parametrize(
    ("bands", "sample", "trained", "named"),
    [
        (SAR_BANDS, 10 * np.log10(flat("sar") / 1000), TRAINED, "sar .* decibels"),
        (SAR_BANDS, 10 ** (flat("sar") / 1000), DECIBELS, "sar .* linear"),
        (MSI_BANDS, flat("msi") / 10_000, TRAINED, "msi .* means"),
        (MSI_BANDS, flat("msi") * 100, TRAINED, "msi .* means"),
        (MODALITIES["concat"], flat("concat") * np.repeat([1, 0.01], [12, 2])[:, None], TRAINED, "sar .* VV "),
    ],
)
def test_another_scale_is_refused_with_the_numbers(bands, sample, trained, named):
    with pytest.raises(DataError, match=f"scene s: .*{named}.* maps.check_scale"):
        check_scale("s", bands, sample.astype(np.float32), trained)


def test_water_and_snow_pass():
    """Water is dark in the infrared, snow bright in the visible: some bands far off, never all of them."""
    water, snow = flat("msi"), flat("msi")
    water[6:] /= 100
    snow[:9] *= 25
    check_scale("training", MODALITIES["concat"], flat("concat"), TRAINED)
    check_scale("water", MSI_BANDS, water, TRAINED)
    check_scale("snow", MSI_BANDS, snow, TRAINED)
