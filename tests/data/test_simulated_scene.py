from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

from cerraseg.data.simulation.patches import simulate
from cerraseg.data.simulation.scene import simulate_scene
from cerraseg.core.taxonomy import LEVELS, MSI_BANDS, SAR_BANDS

FILES = ("msi.tif", "sar.tif", "truth_l1.tif", "truth_l2.tif")
WIDTH, HEIGHT = 700, 650


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated") / "scene"
    simulate_scene(folder, width=WIDTH, height=HEIGHT, seed=3)
    return folder


@pytest.fixture(scope="module")
def patches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated") / "patches"
    simulate(folder, patches=25, seed=3)
    return folder


def read(path: Path) -> NDArray:
    with rasterio.open(path) as file:
        return file.read()


def of_patches(folder: Path, name: str) -> NDArray:
    """All pixels of a layer, (bands, pixels)."""
    images = [read(path) for path in sorted((folder / name).iterdir())]
    return np.concatenate([image.reshape(len(image), -1) for image in images], axis=1)


def test_files_are_georeferenced_rasters(scene: Path) -> None:
    expected = {
        "msi.tif": (MSI_BANDS, "float32", 0, 32722),
        "sar.tif": (SAR_BANDS, "float32", 0, 4326),
        "truth_l1.tif": (("land cover",), "uint8", 255, 32722),
        "truth_l2.tif": (("land cover",), "uint8", 255, 32722),
    }
    grids = set()
    for name, looks in expected.items():
        with rasterio.open(scene / name) as file:
            assert (file.descriptions, file.dtypes[0], file.nodata, file.crs.to_epsg()) == looks
            assert file.profile["tiled"] and file.profile["compress"] == "deflate"
            if name != "sar.tif":
                grids.add((file.transform, file.shape))
                assert file.transform.c % 10 == file.transform.f % 10 == 0 and file.res == (10, 10)
            else:
                assert file.res == pytest.approx((8.983e-5, 8.983e-5))
    assert len(grids) == 1 and grids.pop()[1] == (HEIGHT, WIDTH)


def test_no_data_is_one_corner_of_the_optical_image(scene: Path) -> None:
    msi, l1, l2 = read(scene / "msi.tif"), read(scene / "truth_l1.tif")[0], read(scene / "truth_l2.tif")[0]
    beyond = l1 == 255
    for layer in (*(band == 0 for band in msi), l2 == 255):
        np.testing.assert_array_equal(layer, beyond)
    assert beyond.mean() == pytest.approx(0.6 * 0.25 / 2, rel=0.01)
    assert beyond[0, 0] and not beyond[[0, -1, -1], [-1, 0, -1]].any()
    edge = beyond.sum(axis=1)
    assert (np.diff(edge) <= 0).all() and edge[0] == pytest.approx(WIDTH / 4, abs=1)


def test_truth_is_like_the_cerrado(scene: Path) -> None:
    l1, l2 = read(scene / "truth_l1.tif"), read(scene / "truth_l2.tif")
    valid = l2 != 255
    np.testing.assert_array_equal(l1[valid], np.array([c.parent for c in LEVELS["l2"]])[l2[valid]])
    shares = np.bincount(l2[valid], minlength=14) / valid.sum()
    assert shares.min() > 0.002 and shares[[0, 1]].sum() > 0.6


def test_bands_are_like_those_of_patches(scene: Path, patches: Path) -> None:
    for name, folder in (("msi.tif", "msi_images"), ("sar.tif", "sar_images")):
        image = read(scene / name)
        here, there = image[:, image[0] != 0].astype(np.float64), of_patches(patches, folder)
        assert here.min() > 0
        np.testing.assert_allclose(here.mean(axis=1), there.mean(axis=1, dtype=np.float64), rtol=0.4)
        np.testing.assert_allclose(here.std(axis=1), there.std(axis=1, dtype=np.float64), rtol=0.4)


def test_radar_lies_where_the_optical_image_does(scene: Path) -> None:
    """Warped to the optical grid, water is dark where the truth has it, and all of the grid is seen."""
    l2 = read(scene / "truth_l2.tif")[0]
    with rasterio.open(scene / "msi.tif") as msi, rasterio.open(scene / "sar.tif") as sar:
        with WarpedVRT(sar, crs=msi.crs, transform=msi.transform, width=msi.width, height=msi.height) as warped:
            vv = warped.read(1)
        west, south, east, north = transform_bounds(msi.crs, sar.crs, *msi.bounds)
        assert sar.bounds.left < west < east < sar.bounds.right
        assert -6 < sar.bounds.bottom < south < north < sar.bounds.top  # patches go south from -6
    assert (vv > 0).all()
    dark = [np.median(np.roll(vv, shift, axis=1)[l2 == 3]) for shift in (-3, 0, 3)]
    assert dark[1] < min(dark[0], dark[2])


def test_ground_is_not_that_of_patches(scene: Path, patches: Path) -> None:
    """The patch in the third row and column, 256 px from the corner of its ground, is nowhere in the scene."""
    l2 = read(scene / "truth_l2.tif")[0]
    names = sorted((patches / "semantic_14c").iterdir(), key=lambda path: int(path.stem.rpartition("_")[2]))
    patch = read(names[12])[0]
    windows = np.lib.stride_tricks.sliding_window_view(l2, patch.shape)[::4, ::4, ::16, ::16]
    assert (windows == patch[::16, ::16]).mean(axis=(2, 3)).max() < 0.95


def test_equal_arguments_give_equal_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    for name, seed in (("one", 5), ("two", 5), ("other", 6)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "older.tif").touch()
        simulate_scene(tmp_path / name, width=70, height=50, seed=seed)
    sidecars = {f"{name}.aux.xml" for name in FILES[2:]}
    assert {path.name for path in (tmp_path / "one").iterdir()} == {*FILES, *sidecars}
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    for name in FILES[:2]:
        assert (read(tmp_path / "one" / name) != read(tmp_path / "other" / name)).mean() > 0.9
