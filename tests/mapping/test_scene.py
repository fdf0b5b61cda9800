"""Scenes: images of several sensors on one grid, where all have data, and what is refused."""

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine, from_origin
from rasterio.warp import transform_bounds
from rasterio.windows import Window
from scenes import CERRADATA, CORNER, UTM, pixels, scene_files, write_raster, write_scene

from cerraseg.config.dataset import Sensor
from cerraseg.core.errors import DataError
from cerraseg.geo.images import ImageFiles
from cerraseg.mapping.scene import SceneFiles, open_scene, scene_grid

ALL = Window(0, 0, 90, 70)
MSI, SAR = (CERRADATA.sensors[name].bands for name in ("msi", "sar"))


def both(folder, msi, sar, *, msi_nodata=None, **georeference):
    """A scene of these pixels, its radar perhaps on another grid."""
    optical = write_raster(folder / "msi.tif", msi, MSI, nodata=msi_nodata)
    return scene_files(msi=optical, sar=write_raster(folder / "sar.tif", sar, SAR, **georeference))


def read(files, modality="concat", window=ALL, resampling="bilinear", **options):
    with open_scene(files, CERRADATA.sensors_of(modality), resampling, **options) as scene:
        return scene.read(window)


def test_scenes_of_the_configuration(tmp_path):
    given = {"files": [str(tmp_path / "a.tif")], "bands": ["VH", "VV"], "nodata": 0, "mask": None}
    masked = given | {"bands": [], "mask": {"file": "scl.tif", "values": [3, 8]}}
    files = SceneFiles.of({"name": "s", "images": {"sar": given, "msi": masked}, "date": "2024-01-01"}, CERRADATA)
    assert (files.name, list(files.images), files.first_bands) == ("s", ["msi", "sar"], MSI)
    assert files.images["sar"] == ImageFiles((tmp_path / "a.tif",), ("VH", "VV"), 0)
    assert [path.name for path in files.sources] == ["a.tif", "scl.tif", "a.tif"]


def test_what_is_no_data(tmp_path):
    """A no-data value, NaN, infinity and a mask beside the bands; each band is NaN where it has none."""
    msi, sar, mask = pixels("msi", 70, 90), pixels("sar", 70, 90), np.full((70, 90), 255, np.uint8)
    msi[3, 10, 20] = msi[:, 30, 40] = -1
    sar[1, 50, 60] = np.nan
    sar[0, 51, 61] = np.inf
    mask[5, 9] = 0
    files = both(tmp_path, msi, sar, msi_nodata=-1)
    with rasterio.open(tmp_path / "sar.tif", "r+") as file:
        file.write_mask(mask)
    found, valid = read(files)
    assert sorted(zip(*np.nonzero(~valid), strict=True)) == [(5, 9), (10, 20), (30, 40), (50, 60), (51, 61)]
    assert np.flatnonzero(np.isnan(found[:, 10, 20])).tolist() == [3]
    assert sorted(zip(*np.nonzero(~read(files, "msi")[1]), strict=True)) == [(10, 20), (30, 40)]


def test_radar_on_a_shifted_grid_is_brought_to_the_optical_one(tmp_path):
    """Half a pixel east: bilinear values are means of neighbours; no data where it does not reach or lacks a band."""
    sar = pixels("sar", 70, 90)
    sar[0, 20, 30] = -99
    shifted = from_origin(600005, 8300000, 10, 10)
    files = both(tmp_path, pixels("msi", 70, 90), sar, transform=shifted, nodata=-99)
    found, valid = read(files)
    means = (sar[:, 40, 50] + sar[:, 40, 51]) / 2
    np.testing.assert_allclose(found[12:, 40, 51], means, rtol=1e-3)
    assert valid.all()
    np.testing.assert_allclose(found[12, 20, 30:32], sar[0, 20, [29, 31]], rtol=1e-3)  # -99 is mixed into nothing
    np.testing.assert_array_equal(found[:12], pixels("msi", 70, 90))
    nearest, _ = read(files, resampling="nearest")
    assert np.isin(nearest[13][valid], sar[1]).all()


def test_radar_in_another_coordinate_system_lands_on_its_ground(tmp_path):
    """A gradient over longitude, written in degrees, has the values of the longitudes of the optical grid's pixels."""
    west, south, east, north = transform_bounds(UTM, "EPSG:4326", 599000, 8298000, 602000, 8301000)
    lon = np.linspace(west, east, 400) + (east - west) / 800
    gradient = np.tile(((lon - west) * 1000).astype(np.float32), (2, 300, 1))
    degrees = from_origin(west, north, (east - west) / 400, (north - south) / 300)
    found, valid = read(both(tmp_path, pixels("msi", 70, 90), gradient, crs="EPSG:4326", transform=degrees))
    x, y = CORNER * (45.5, 35.5)
    (longitude,), _ = rasterio.warp.transform(UTM, "EPSG:4326", [x], [y])
    half_a_pixel = 500 * (east - west) / 400
    assert valid.all() and abs(found[12, 35, 45] - ((longitude - west) * 1000 + half_a_pixel)) < 0.06


def test_the_first_image_gives_the_grid_of_every_modality(tmp_path):
    files = both(tmp_path, pixels("msi", 33, 44), pixels("sar", 70, 90), transform=from_origin(599900, 8300100, 10, 10))
    for modality in ("concat", "msi", "sar"):
        with open_scene(files, CERRADATA.sensors_of(modality), "bilinear") as scene:
            assert (scene.grid.shape, scene.grid.transform) == ((33, 44), CORNER)
            assert (scene.bands, scene.warped) == (CERRADATA.bands(modality), modality != "msi")
    with open_scene(scene_files(sar=tmp_path / "sar.tif"), CERRADATA.sensors_of("sar"), "bilinear") as scene:
        assert scene.grid.shape == (70, 90) and not scene.warped


def test_three_sensors_of_any_names_in_any_order(tmp_path):
    """Also one of two single-band files, and one south-up."""
    dem, a, b = (np.random.default_rng(k).uniform(0, 9, (1, 20, 30)).astype("f4") for k in range(3))
    sensors = [Sensor("thermal", ("T2", "T1"), "t"), Sensor("dem", ("elevation",), "d"), Sensor("x", ("a", "b"), "x")]
    flipped = CORNER * Affine.translation(0, 20) * Affine.scale(1, -1)
    images = {
        "x": ImageFiles((write_raster(tmp_path / "x.tif", np.concatenate([a, b])),)),
        "thermal": ImageFiles(tuple(write_raster(tmp_path / f"T{k}.tif", part) for k, part in ((1, a), (2, b)))),
        "dem": ImageFiles((write_raster(tmp_path / "dem.tif", dem[:, ::-1], transform=flipped),)),
    }
    with open_scene(SceneFiles("s", images), sensors, "bilinear") as scene:
        found, valid = scene.read(Window(5, 4, 20, 10))
        assert scene.bands == ("T2", "T1", "elevation", "a", "b") and not scene.warped
    np.testing.assert_array_equal(found, np.concatenate([b, a, dem, a, b])[:, 4:14, 5:25])
    assert valid.all()


def test_the_sample_of_a_large_scene_is_spread_over_it_and_never_empty(tmp_path):
    image = np.zeros((2, 1500, 600), np.float32)
    image[:, 700:704, 100] = 5
    path = write_raster(tmp_path / "sar.tif", image, SAR, nodata=0)
    with open_scene(scene_files(sar=path), CERRADATA.sensors_of("sar"), "bilinear") as scene:
        np.testing.assert_array_equal(scene.sample(), np.full((2, 4), 5))
    path = write_raster(tmp_path / "full.tif", image + 1, SAR)
    with open_scene(scene_files(sar=path), CERRADATA.sensors_of("sar"), "bilinear") as scene:
        assert scene.sample().shape == (2, 64 * 64**2)


def test_turned_and_south_up_scenes_are_mapped_north_up(tmp_path):
    turned = write_raster(tmp_path / "t.tif", pixels("msi", 70, 90), MSI, transform=CORNER * Affine.rotation(20))
    assert not scene_grid(scene_files(msi=turned)).turned
    south_up = write_raster(
        tmp_path / "s.tif", pixels("msi", 70, 90)[:, ::-1], MSI, transform=from_origin(600000, 8299300, 10, -10)
    )
    with open_scene(scene_files(msi=south_up), CERRADATA.sensors_of("msi"), "bilinear") as scene:
        assert scene.grid.transform == CORNER
        np.testing.assert_array_equal(scene.read(ALL)[0], pixels("msi", 70, 90))


def test_unusable_files_are_refused(tmp_path):
    write_scene(tmp_path, 70, 90)
    good = {"msi": tmp_path / "msi.tif", "sar": tmp_path / "sar.tif"}
    (tmp_path / "text.tif").write_text("no raster")
    far = write_raster(tmp_path / "far.tif", pixels("sar", 70, 90), SAR, transform=from_origin(700000, 8300000, 10, 10))
    for change, named in (
        ({"sar": far}, r"scene somewhere: sar: .*far.tif .*700000"),
        (
            {"sar": write_raster(tmp_path / "no.tif", pixels("sar", 70, 90), SAR, crs=None)},
            r"no.tif .*reference system",
        ),
        ({"msi": tmp_path / "text.tif"}, r"msi: .*text.tif"),
    ):
        with pytest.raises(DataError, match=named):
            read(scene_files(**good | change))
    with pytest.raises(DataError, match="no sar image"):
        read(scene_files(msi=good["msi"]))
