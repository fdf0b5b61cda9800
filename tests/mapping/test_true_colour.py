"""Pictures of the ground: pixels by hand and by brute force, bounds, alpha, stretch, and what others read of a file."""

import numpy as np
import pandas as pd
import pytest
import rasterio
from placed import read, table
from rasterio.enums import MaskFlags
from rio_cogeo import cog_validate
from scenes import CERRADATA, write_raster

from cerraseg.geo.images import ImageFiles, open_image
from cerraseg.mapping import true_colour
from cerraseg.mapping.mosaic import mosaic
from cerraseg.mapping.true_colour import Stretch, patches_images, scene_image

MSI_BANDS, SAR_BANDS = (CERRADATA.bands(sensor) for sensor in ("msi", "sar"))


def ramp(count: int, side: int = 4) -> np.ndarray:
    """MSI patches: blue of patch i is i, green 10 i, red 100 i, the other bands -1."""
    images = np.full((count, 12, side, side), -1, np.float32)
    for band, factor in (("B02", 1), ("B03", 10), ("B04", 100)):
        images[:, MSI_BANDS.index(band)] = factor * np.arange(count)[:, None, None]
    return images


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stretch each band from its smallest to its largest pixel, in proportion."""
    for name, value in (("PERCENTILES", (0, 100, 100)), ("GAMMA", 1), ("KNEE", 1), ("_ALIKE", 0), ("_SAMPLE_STEP", 1)):
        monkeypatch.setattr(true_colour, name, value)


def draw(patches, images, bands, folder):
    options = {"composite": CERRADATA.composite(bands), "rows": np.arange(len(patches)), "tags": {"SOURCE": "made up"}}
    return patches_images(patches, images, bands, folder, **options)


def draw_scene(scene, path):
    wanted = ("B02", "B03", "B04")
    with open_image(ImageFiles((scene,), BANDS), wanted, "scene") as image:
        scene_image(image, path, composite=CERRADATA.composite(wanted), tags={"SOURCE": "made up"})
    return path


def test_files_are_cloud_optimized_rgb_with_alpha(tmp_path):
    random = np.random.default_rng(1).random((2, 12, 700, 700), np.float32)
    (path,) = draw(table([(0, 0), (700, 700)]), random, MSI_BANDS, tmp_path)
    assert cog_validate(path, quiet=True) == (True, [], [])
    with rasterio.open(path) as file:
        assert [band.name for band in file.colorinterp] == ["red", "green", "blue", "alpha"]
        assert file.dtypes == ("uint8",) * 4
        assert file.mask_flag_enums[0] == [MaskFlags.per_dataset, MaskFlags.alpha]
        assert file.compression.name == "deflate" and file.block_shapes == [(512, 512)] * 4
        assert file.overviews(1) == [2, 4] and file.tags()["SOURCE"] == "made up"


@pytest.mark.parametrize("largest", [100, 17])
def test_reduced_to_means_of_valid_pixels(tmp_path, monkeypatch, exact, largest):
    monkeypatch.setattr(true_colour, "LARGEST_SIDE", largest)
    random = np.random.default_rng(largest)
    corners = random.integers(-30, 30, (12, 2))
    corners[0] = -30, -30
    images = random.random((12, 3, 9, 7)).astype(np.float32)
    images[random.random(images.shape) < 0.1] = np.nan
    (path,) = draw(table(corners.tolist()), images, ("B02", "B03", "B04"), tmp_path)
    corners -= corners.min(axis=0)
    total = np.zeros((4, 100, 100))
    for (row, column), image in zip(corners, images[:, ::-1], strict=True):
        valid = np.isfinite(image).all(axis=0)
        total[:, row : row + 9, column : column + 7] += [*np.where(valid, image, 0), valid]
    height, width = corners.max(axis=0) + np.array([9, 7])
    factor = int(np.ceil(max(height, width) / largest))
    height, width = -(-height // factor), -(-width // factor)
    total = total[:, : height * factor, : width * factor].reshape(4, height, factor, width, factor).sum(axis=(2, 4))
    low, high = (f(images[:, ::-1].transpose(1, 0, 2, 3)[:, np.isfinite(images).all(axis=1)], axis=1)
                 for f in (np.min, np.max))  # fmt: skip
    values = read(path)
    assert values.shape == (4, height, width) and max(height, width) <= largest
    valid = total[3] > 0
    np.testing.assert_array_equal(values[3], 255 * valid)
    mean = total[:3, valid] / total[3, valid]
    expected = 255 * (mean - low[:, None]) / (high - low)[:, None]
    np.testing.assert_allclose(values[:3, valid], expected, atol=0.501)


@pytest.mark.parametrize(("largest", "factor", "beyond"), [(100, 1, 0), (10, 4, 2)])
def test_bounds_are_those_of_the_mosaic(tmp_path, monkeypatch, largest, factor, beyond):
    """38 x 38 pixels: 10 squares of 4 reach 2 pixels beyond."""
    monkeypatch.setattr(true_colour, "LARGEST_SIDE", largest)
    patches = table([(0.3, 0.3), (-3, -5), (27, 25)])
    (picture,) = draw(patches, ramp(3, 8), MSI_BANDS, tmp_path)
    (labels,) = mosaic(patches, np.zeros((3, 8, 8), np.uint8), tmp_path, name="map", classes=CERRADATA.classes("l1"))
    with rasterio.open(picture) as image, rasterio.open(labels) as classes:
        assert classes.shape == (38, 38) and image.crs == classes.crs
        left, bottom, right, top = classes.bounds
        assert image.bounds == (left, bottom - 10 * beyond, right + 10 * beyond, top)
        assert image.res == (10 * factor, 10 * factor)


def test_each_coordinate_system_has_its_stretch(tmp_path, exact):
    """Of patches that are found in their rows of a memory-mapped store."""
    patches = pd.concat([table([(0, 0)]), table([(0, 0)], "EPSG:32723"), table([(0, 4), (0, 8)])])
    np.save(tmp_path / "images.npy", ramp(6))
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    options = {"composite": CERRADATA.composite(MSI_BANDS), "rows": np.array([5, 3, 1, 2]), "tags": {}}
    paths = patches_images(patches, images, MSI_BANDS, tmp_path, **options)
    assert [path.name for path in paths] == ["image_epsg32722.tif", "image_epsg32723.tif"]
    assert read(paths[0])[0, 0, ::4].tolist() == [255, 0, 64]
    with rasterio.open(paths[1]) as file:
        assert file.tags()["STRETCH"].startswith("B04 300 to 300, B03 30 to 30, B02 3 to 3")


def test_radar_is_logarithmic_unless_it_is_in_decibels(tmp_path, exact):
    linear = np.array([1, 10, 1000], np.float32)[:, None, None, None] * np.ones((3, 2, 4, 4), np.float32)
    linear[:, 1] /= 100
    patches = table([(0, 0), (0, 4), (0, 8)])
    for name, images, scale in (("linear", linear, "logarithmic"), ("decibels", 10 * np.log10(linear), "gamma 1")):
        (path,) = draw(patches, images, SAR_BANDS, tmp_path / name)
        assert read(path)[:3, 0, ::4].tolist() == [[0, 85, 255]] * 3
        with rasterio.open(path) as file:
            assert file.tags()["BANDS"] == "VV, VH, VV" and f"; {scale};" in file.tags()["STRETCH"]
    both = np.concatenate([ramp(3), linear], axis=1)
    (path,) = draw(patches, both, MSI_BANDS + SAR_BANDS, tmp_path / "both")
    with rasterio.open(path) as file:
        assert file.tags()["BANDS"] == "B04, B03, B02"


def test_ground_is_stretched_by_percentiles_and_the_rest_bent_off(tmp_path):
    images = np.repeat(np.linspace(0, 1000, 1001, dtype=np.float32), 4 * 4).reshape(1001, 1, 4, 4).repeat(3, axis=1)
    values = images[:, 0, 0, 0]
    stretch = true_colour._stretch(images.swapaxes(0, 1), False)
    assert stretch.low.tolist() == [10] * 3 and stretch.high.tolist() == [980] * 3 and stretch.top.tolist() == [999] * 3
    ground, above = np.clip((values - 10) / 970, 0, 1), np.clip((values - 980) / 19, 0, 1)
    expected = np.rint(255 * (0.85 * ground ** (1 / 1.8) + 0.15 * above))
    np.testing.assert_allclose(stretch.shown(values[None, None].repeat(3, axis=0))[1, 0], expected, atol=1)
    (path,) = draw(table([(0, 4 * place) for place in range(1001)]), images, ("B04", "B03", "B02"), tmp_path)
    with rasterio.open(path) as file:
        assert file.tags()["STRETCH"].endswith("; gamma 1.8; clouds and snow up to 999, 999, 999")


def clouded(share):
    """Values (3, 200, 200) of half forest, half soil, with haze and a share of clouds; where forest and clouds are."""
    random = np.random.default_rng(7)
    forest = np.arange(200)[:, None].repeat(200, axis=1) < 100
    soil = random.uniform(0.3, 1, (20, 20)).repeat(10, axis=0).repeat(10, axis=1)
    canopy = random.uniform(0.6, 1.4, (200, 200))
    land = [
        np.where(forest, of_forest * canopy, of_soil * soil)
        for of_forest, of_soil in zip((260, 420, 220), (2400, 1700, 1100), strict=True)
    ]
    cloudy = (np.arange(40000) % 200 < 200 * share).reshape(200, 200)
    clouds = 6500 + 900 * random.random((200, 200))
    return np.where(cloudy, clouds, land) + np.array([150, 300, 500])[:, None, None], forest & ~cloudy, cloudy


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_clouds_do_not_darken_the_ground(share):
    clear, _, _ = clouded(0)
    expected = true_colour._stretch(clear, False).shown(clear)
    values, _, cloudy = clouded(share)
    shown = true_colour._stretch(values, False).shown(values)
    ground = ~cloudy & (expected < 255 * true_colour.KNEE).all(axis=0)
    assert np.abs(shown[:, ground] - expected[:, ground].astype(float)).max() <= 25
    assert abs(np.median(shown[:, ~cloudy]) - np.median(expected)) <= 8
    assert shown[:, cloudy].min() > 215 and (shown[:, cloudy] == 255).mean() < 0.1


def test_forest_keeps_its_contrast():
    """Neither black nor saturated nor flat, also beside bright soil."""
    values, forest, _ = clouded(0)
    shown = true_colour._stretch(values, False).shown(values)
    assert 40 < np.median(shown[1, forest]) < 120 and np.ptp(np.percentile(shown[1, forest], (5, 95))) > 35
    assert (shown[:, forest] > 5).mean() > 0.95 and shown[:, forest].max() < 200
    assert (shown[1, forest] > shown[0, forest]).mean() > 0.95  # green


def test_snow_everywhere_and_bands_of_unlike_units():
    random = np.random.default_rng(3)
    snow = np.array([9000, 8800, 8900])[:, None, None] * random.uniform(0.8, 1, (50, 50))
    shown = true_colour._stretch(snow, False).shown(snow)
    assert 100 < np.median(shown) < 200 and np.ptp(shown) > 200
    unlike = random.random((3, 50, 50)) * np.array([1000, 1, 30])[:, None, None]
    shown = true_colour._stretch(unlike, False).shown(unlike)
    np.testing.assert_allclose(np.median(shown, axis=(1, 2)), 255 * 0.85 * 0.5 ** (1 / 1.8), atol=6)


def test_no_data_and_constant_bands(tmp_path):
    assert not Stretch(*np.zeros((3, 3)), False, 1).shown(np.zeros((3, 2, 2))).any()
    (path,) = draw(table([(0, 0)]), np.full((1, 2, 4, 4), np.nan, np.float32), SAR_BANDS, tmp_path)
    assert not read(path).any()


def test_bands_without_true_colour_make_a_picture_of_the_first(tmp_path, exact):
    images = np.arange(2 * 2, dtype=np.float32).reshape(2, 2, 1, 1) * np.ones((2, 2, 4, 4), np.float32)
    (path,) = draw(table([(0, 0), (0, 4)]), images, ("elevation", "slope"), tmp_path)
    with rasterio.open(path) as file:
        assert file.tags()["BANDS"] == "elevation, slope, slope"
    assert read(path)[:3, 0, ::4].tolist() == [[0, 255]] * 3


BANDS = ("B02", "B03", "x", "B04", "y")


def test_scene_is_reduced_to_means_of_valid_pixels(tmp_path, monkeypatch, exact):
    monkeypatch.setattr(true_colour, "LARGEST_SIDE", 15)
    bands = np.random.default_rng(5).random((5, 60, 44)).astype(np.float32)
    bands[:, :8, :4] = -9  # all of two pixels of the picture
    bands[:, 20, 20] = -9  # a 16th of one
    values = read(draw_scene(write_raster(tmp_path / "scene.tif", bands, nodata=-9), tmp_path / "image.tif"))
    means = np.ma.masked_equal(bands[[3, 1, 0]], -9).reshape(3, 15, 4, 11, 4).mean(axis=(2, 4))
    assert np.argwhere(values[3] == 0).tolist() == [[0, 0], [1, 0]] == np.argwhere(means.mask[0]).tolist()
    low, high = (f(axis=(1, 2), keepdims=True) for f in (means.min, means.max))
    np.testing.assert_allclose(values[:3], (255 * (means - low) / (high - low)).filled(0), atol=0.501)


def test_picture_of_a_scene_has_its_bounds_and_tags(tmp_path, monkeypatch):
    scene = write_raster(tmp_path / "scene.tif", np.arange(5 * 60 * 45, dtype=np.int16).reshape(5, 60, 45))
    for largest, shape in ((16, (15, 12)), (100, (60, 45))):
        monkeypatch.setattr(true_colour, "LARGEST_SIDE", largest)
        with rasterio.open(draw_scene(scene, tmp_path / "image.tif")) as image, rasterio.open(scene) as file:
            assert image.bounds == file.bounds and image.shape == shape and image.crs == file.crs
            assert (image.tags()["SOURCE"], image.tags()["BANDS"]) == ("made up", "B04, B03, B02")
