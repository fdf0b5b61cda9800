"""Case 17 and its kind: a model of one project's units in another project is refused, or the scene is converted."""

import numpy as np
import pytest
import rasterio
from scenes import CERRADATA, NAMES, TRAINED, pixels, scene_files, write_model, write_raster

from cerraseg.config.recipes import RECIPES
from cerraseg.config.scenario import parse
from cerraseg.core.errors import DataError
from cerraseg.mapping.map_scene import Settings, map_scene
from cerraseg.mapping.scene_check import read_scaled, survey
from cerraseg.models.adopt import adopt

BANDS = CERRADATA.bands("msi")
REFLECTANCE = {band: {key: value / 1e4 for key, value in of.items()} for band, of in TRAINED.items()}
DN = pixels("msi", 150, 170)  # around the mean of training


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Trained on values of 0 to 10,000, in a project of its own."""
    return write_model(tmp_path_factory.mktemp("of another project") / "checkpoint.pt", "msi")


def scene(path, image, scale=None):
    write_raster(path, image, BANDS)
    if scale:
        with rasterio.open(path, "r+") as file:
            file.scales = [scale] * len(BANDS)
    return scene_files(msi=path)


def mapped(model, files, folder, scaled=None, **settings):
    settings = Settings(batch_size=8, **settings)
    map_scene(model, files, folder, folder.with_name("unfinished"), settings, CERRADATA, {}, scaled=scaled or {})
    maps = {}
    for path in sorted(folder.glob("*.tif")):
        with rasterio.open(path) as file:
            maps[path.name] = file.read()
    return maps


def checked(files, trained, folder):
    """What the check of the scene, before training, decides in a project of these statistics."""
    sensors = CERRADATA.sensors_of("msi")
    survey(files, sensors, trained, folder / "scene.json", resampling="bilinear", scale=True)
    return read_scaled(folder / "scene.json")


def test_a_checkpoint_of_other_units_is_not_adopted(model, tmp_path):
    scenario = parse("unet-msi-nw-l1-tuned-1", NAMES)
    recipe, outputs = RECIPES["tuned"]["unet"], (tmp_path / "checkpoint.pt", tmp_path / "origin.json")
    with pytest.raises(DataError) as refused:
        adopt(model, scenario, recipe, {}, {"bands": REFLECTANCE}, CERRADATA, *outputs)
    told = str(refused.value)
    assert "B01 0.2 (0.01 to 0.9)" in told and "2000 (100 to 9000)" in told
    assert not any(path.exists() for path in outputs)
    adopt(model, scenario, recipe, {}, {"bands": TRAINED}, CERRADATA, *outputs)


def test_a_scene_of_other_units_is_refused_though_it_passes_the_projects_own_check(model, tmp_path):
    """A map of 97 % Water came of it: reflectance of 0 to 1 for a model of 0 to 10,000, and the other way round."""
    files = scene(tmp_path / "reflectance.tif", DN / 1e4)
    assert checked(files, REFLECTANCE, tmp_path) == {}
    with pytest.raises(DataError, match=r"msi bands .*B01 0\.2.*training 2000 \(100 to 9000\)"):
        mapped(model, files, tmp_path / "map")
    assert not (tmp_path / "map").exists()
    assert mapped(model, files, tmp_path / "map", check_scale=False).keys() == {"classes.tif", "confidence.tif"}


def test_a_scene_whose_tags_explain_its_units_is_converted(model, tmp_path):
    """DN with the factor to reflectance: the project reads reflectance, the model of DN what is stored."""
    expected = mapped(model, scene(tmp_path / "dn.tif", DN), tmp_path / "of dn")
    tagged = scene(tmp_path / "tagged.tif", DN, scale=1e-4)
    scaled = checked(tagged, REFLECTANCE, tmp_path)
    assert scaled == {"msi": True}
    found = mapped(model, tagged, tmp_path / "of tagged", scaled)
    assert found.keys() == expected.keys() == {"classes.tif", "confidence.tif"}
    for name, values in found.items():
        np.testing.assert_array_equal(values, expected[name], name)
    assert len(np.unique(found["classes.tif"])) > 1 and found["confidence.tif"].max() <= 100
