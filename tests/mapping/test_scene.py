"""Scenes: bands by name, grids brought together, where there is data, and what is refused."""

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine, from_origin
from rasterio.warp import transform_bounds
from rasterio.windows import Window
from scenes import CORNER, UTM, pixels, write_raster, write_scene

from cerraseg.core.errors import DataError
from cerraseg.core.taxonomy import MSI_BANDS, SAR_BANDS
from cerraseg.mapping.scene import SceneFiles, open_scene

ALL = Window(0, 0, 90, 70)


def both(folder, msi, sar, *, msi_nodata=None, **georeference):
    """A scene of these pixels, its radar perhaps on another grid."""
    optical = write_raster(folder / "msi.tif", msi, MSI_BANDS, nodata=msi_nodata)
    return SceneFiles("s", optical, write_raster(folder / "sar.tif", sar, SAR_BANDS, **georeference))


def read(files, modality="concat", window=ALL, resampling="bilinear"):
    with open_scene(files, modality, resampling) as scene:
        return scene.read(window)


def test_bands_are_taken_by_description(tmp_path):
    """As in a file of all 13 bands in another order, under other spellings."""
    image = pixels("msi", 70, 90)
    order = [7, 0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11]
    names = [MSI_BANDS[k].replace("B0", "b") for k in order]
    extra = np.concatenate([image[order], np.zeros((1, 70, 90), np.float32)])
    files = SceneFiles("s", msi=write_raster(tmp_path / "s.tif", extra, (*names, "B10")))
    found, valid = read(files, "msi")
    np.testing.assert_array_equal(found, image)
    assert valid.all()


def test_bands_are_never_guessed(tmp_path):
    bare = write_raster(tmp_path / "bare.tif", pixels("sar", 70, 90))
    with pytest.raises(DataError, match="expected VV, VH"):
        read(SceneFiles("s", sar=bare), "sar")
    found, _ = read(SceneFiles("s", sar=bare, sar_bands=("VH", "VV")), "sar")
    np.testing.assert_array_equal(found, pixels("sar", 70, 90)[::-1])
    eleven = write_raster(tmp_path / "eleven.tif", pixels("msi", 70, 90)[1:], MSI_BANDS[1:])
    with pytest.raises(DataError, match="B01 is missing"):
        read(SceneFiles("s", msi=eleven), "msi")
    with pytest.raises(DataError, match="msi_bands names 2 bands"):
        read(SceneFiles("s", msi=eleven, msi_bands=("B01", "B02")), "msi")


def test_what_is_no_data(tmp_path):
    """A no-data value, NaN, infinity and a mask beside the bands."""
    msi, sar, mask = pixels("msi", 70, 90), pixels("sar", 70, 90), np.full((70, 90), 255, np.uint8)
    msi[3, 10, 20] = msi[:, 30, 40] = -1
    sar[1, 50, 60] = np.nan
    sar[0, 51, 61] = np.inf
    mask[5, 9] = 0
    files = both(tmp_path, msi, sar, msi_nodata=-1)
    with rasterio.open(files.sar, "r+") as file:
        file.write_mask(mask)
    _, valid = read(files)
    assert sorted(zip(*np.nonzero(~valid), strict=True)) == [(5, 9), (10, 20), (30, 40), (50, 60), (51, 61)]
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


def test_without_optical_bands_the_radar_gives_the_grid(tmp_path):
    with open_scene(SceneFiles("s", sar=write_scene(tmp_path, 33, 44).sar), "sar", "bilinear") as scene:
        assert (scene.grid.shape, scene.grid.transform, scene.bands) == ((33, 44), CORNER, SAR_BANDS)
        assert scene.sample().shape == (2, 33 * 44)


def test_the_sample_of_a_large_scene_is_spread_over_it_and_never_empty(tmp_path):
    image = np.zeros((2, 1500, 600), np.float32)
    image[:, 700:704, 100] = 5
    path = write_raster(tmp_path / "sar.tif", image, SAR_BANDS, nodata=0)
    with open_scene(SceneFiles("s", sar=path), "sar", "bilinear") as scene:
        np.testing.assert_array_equal(scene.sample(), np.full((2, 4), 5))
    path = write_raster(tmp_path / "full.tif", image + 1, SAR_BANDS)
    with open_scene(SceneFiles("s", sar=path), "sar", "bilinear") as scene:
        assert scene.sample().shape == (2, 64 * 64**2)


def test_unusable_files_are_refused(tmp_path):
    files = write_scene(tmp_path, 70, 90)
    (tmp_path / "text.tif").write_text("no raster")

    def raster(layer, name, **georeference):
        bands = MSI_BANDS if layer == "msi" else SAR_BANDS
        return write_raster(tmp_path / f"{name}.tif", pixels(layer, 70, 90), bands, **georeference)

    for change, named in (
        ({"sar": raster("sar", "far", transform=from_origin(700000, 8300000, 10, 10))}, "far.tif .*700000"),
        ({"sar": raster("sar", "nowhere", crs=None)}, "nowhere.tif .*coordinate reference system"),
        ({"msi": raster("msi", "turned", transform=CORNER * Affine.rotation(20))}, "west to east"),
        ({"msi": raster("msi", "flipped", transform=CORNER * Affine.scale(1, -1))}, "west to east"),
        ({"msi": tmp_path / "text.tif"}, "msi .*text.tif"),
        ({"sar": None}, "no sar raster"),
    ):
        with pytest.raises(DataError, match=named):
            read(files._replace(**change))
