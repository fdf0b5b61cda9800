"""Simulated patches and scenes are laid out, georeferenced and distributed like those of CerraData-4MM."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

from cerraseg.core.errors import ConfigError
from cerraseg.core.layout import SOURCE
from cerraseg.data.masks import derive_edges
from cerraseg.data.simulation.landscape import landscape
from cerraseg.data.simulation.patches import simulate
from cerraseg.data.simulation.scene import simulate_scene
from cerraseg.data.simulation.window import MSI_BANDS, PARENTS, SAR_BANDS, Window, salts

SIDE = 5  # patches: the least ground that holds every class
WIDTH, HEIGHT = 700, 650  # of the scene


@pytest.fixture(scope="module")
def land(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """5 × 5 simulated patches, seed 3; read only."""
    folder = tmp_path_factory.mktemp("simulated") / "cerradata_4mm"
    simulate(folder, patches=SIDE * SIDE, seed=3)
    return folder


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated") / "scene"
    simulate_scene(folder, width=WIDTH, height=HEIGHT, seed=3)
    return folder


def read(path: Path) -> NDArray:
    with rasterio.open(path) as file:
        return file.read()


def layer_files(folder: Path) -> dict[int, Path]:
    """Id → file of a layer, in the order of the ids."""
    return dict(sorted((int(path.stem.rpartition("_")[2]), path) for path in folder.glob("*.tif")))


def mosaic(folder: Path, size: int = 128, side: tuple[int, int] = (SIDE, SIDE)) -> NDArray:
    """All patches of a layer side by side, in the order of their ids, (bands, H, W)."""
    grid = np.stack([read(path) for path in layer_files(folder).values()]).reshape(*side, -1, size, size)
    return grid.transpose(2, 0, 3, 1, 4).reshape(-1, side[0] * size, side[1] * size)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.tif")}


@pytest.mark.parametrize(
    ("pattern", "bands", "dtype"),
    [
        ("msi_images/parrot_beak_ms_{}.tif", MSI_BANDS, "float32"),
        ("sar_images/parrot_beak_sar_{}.tif", SAR_BANDS, "float32"),
        ("semantic_7c/mask_parrot_beak_7classes_{}.tif", ("class",), "int32"),
        ("semantic_14c/parrot_beak_terraclass_classes_14c_{}.tif", ("class",), "int32"),
        ("edge_7c/edge_parrot_beak_7c_{}.tif", ("edge",), "uint8"),
        ("edge_14c/edge_parrot_beak_14c_{}.tif", ("edge",), "uint8"),
    ],
)
def test_layout_is_that_of_kaggle(land, pattern, bands, dtype):
    files = layer_files((land / pattern).parent)
    assert len(files) == 25 and all(path == land / pattern.format(id_) for id_, path in files.items())
    assert sorted(map(str, files)) != [*map(str, files)] and min(files) < 10 < 10_000 < max(files)
    with rasterio.open(files[min(files)]) as dataset:
        assert (dataset.shape, dataset.descriptions, {*dataset.dtypes}) == ((128, 128), bands, {dtype})
        assert dataset.crs.to_epsg() == 4326
        assert dataset.transform.a == -dataset.transform.e == pytest.approx(8.983e-5)


def test_patches_of_a_scene_touch_and_scenes_do_not(tmp_path):
    simulate(tmp_path / "out", patches=7, seed=1, scenes=2, size=16)
    corners = []
    for path in layer_files(tmp_path / "out/msi_images").values():
        with rasterio.open(path) as dataset:
            corners.append((dataset.bounds.left, dataset.bounds.top))
    place = (np.array(corners) - corners[0]) / (16 * 8.983e-5)
    second = place[4, 0]
    assert second > 10
    expected = [(0, 0), (1, 0), (0, -1), (1, -1), (second, 0), (second + 1, 0), (second, -1)]
    np.testing.assert_allclose(place, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "alike"),
    [
        (partial(simulate, patches=20, scenes=2, size=32), {"workers": 2}),
        (partial(simulate_scene, width=70, height=50), {}),
    ],
)
def test_equal_arguments_give_equal_bytes_and_another_seed_does_not(tmp_path, make, alike):
    for name, further in (("one", {"seed": 5}), ("two", {"seed": 5, **alike}), ("other", {"seed": 6})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "older.tif").touch()
        make(tmp_path / name, **further)
    one, two, other = (contents(tmp_path / name) for name in ("one", "two", "other"))
    assert one == two and "older.tif" not in one
    assert not {one[name] for name in one if "ms" in name} & {*other.values()}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_class_has_its_floor_on_the_least_ground(seed):
    l2 = landscape(salts(seed, 0), Window(0, 0, 640, 640)).l2
    shares = np.bincount(l2.ravel(), minlength=14) / l2.size
    assert shares.min() > 0.002 and shares[[0, 1]].sum() > 0.6


def test_l1_is_the_parent_of_l2_and_edges_are_those_of_the_whole_scene(land):
    np.testing.assert_array_equal(mosaic(land / "semantic_7c"), np.array(PARENTS)[mosaic(land / "semantic_14c")])
    for classes, edges in (("semantic_7c", "edge_7c"), ("semantic_14c", "edge_14c")):
        expected = derive_edges(mosaic(land / classes)[0])
        np.testing.assert_array_equal(mosaic(land / edges)[0], expected)
        assert 0.01 < expected.mean() < 0.25


def test_band_statistics_are_near_the_published(tmp_path):
    simulate(tmp_path / "out", patches=64, seed=1, scenes=16)
    published = json.loads((SOURCE / "reference/band_statistics.json").read_text())
    for name, of in (("msi_images", published["msi"]), ("sar_images", published["sar"])):
        values = mosaic(tmp_path / "out" / name, side=(8, 8)).reshape(len(of["mean"]), -1).astype(np.float64)
        assert values.min() > 0
        np.testing.assert_allclose(values.mean(axis=1), of["mean"], rtol=0.15)
        np.testing.assert_allclose(values.std(axis=1), of["std"], rtol=0.35)


def recall(layer: NDArray, classes: NDArray) -> float:
    """Macro recall of linear discriminant analysis on the odd columns, taught on the even ones."""
    known, asked = (layer[..., first::2].reshape(len(layer), -1).T.astype(np.float64) for first in (0, 1))
    taught, truth = (classes[..., first::2].ravel() for first in (0, 1))
    parts = [known[taught == c] for c in range(7)]
    inverse = np.linalg.inv(sum(np.cov(part.T) * len(part) for part in parts) / len(known))
    means = np.array([part.mean(axis=0) for part in parts])
    guess = (asked @ inverse @ means.T - (means @ inverse * means).sum(axis=1) / 2).argmax(axis=1)
    return float(np.mean([(guess[truth == c] == c).mean() for c in range(7)]))


def test_classes_can_be_told_apart_but_not_all_of_them(land):
    msi, sar, classes = (mosaic(land / name)[:, ::2] for name in ("msi_images", "sar_images", "semantic_7c"))
    optical, radar, both = (recall(np.log(layer), classes) for layer in (msi, sar, np.concatenate([msi, sar])))
    assert 1.5 / 7 < radar < optical - 0.15 and 0.7 < optical < both and optical < 0.97


def test_more_scenes_than_patches_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="9 scenes for 8 patches"):
        simulate(tmp_path / "out", patches=8, seed=1, scenes=9)
    assert not list(tmp_path.iterdir())


def test_with_drift_classes_look_different_from_region_to_region(tmp_path):
    """The land is the same; within a class, far places differ more than the same places without drift do."""
    spread, masks = [], []
    for name, drift in (("alike", 0.0), ("drifting", 0.4)):
        simulate(tmp_path / name, patches=64, seed=1, drift=drift, size=32)
        mask, msi = (mosaic(tmp_path / name / layer, 32, (64, 1)) for layer in ("semantic_7c", "msi_images"))
        masks.append(mask[0].reshape(64, -1))
        patches = zip(msi[7].reshape(64, -1), masks[-1] == 1, strict=True)
        medians = [np.median(pixels[forest] - 1000) for pixels, forest in patches if forest.sum() > 200]
        spread.append(np.log(medians).std())
    assert (masks[0] == masks[1]).all()
    assert spread[1] > 1.5 * spread[0]


def test_scenes_are_georeferenced_rasters(scene):
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
            if name == "sar.tif":
                assert file.res == pytest.approx((8.983e-5, 8.983e-5))
            else:
                grids.add((file.transform, file.shape))
                assert file.transform.c % 10 == file.transform.f % 10 == 0 and file.res == (10, 10)
    assert len(grids) == 1 and grids.pop()[1] == (HEIGHT, WIDTH)


def test_no_data_is_one_corner_of_the_optical_image(scene):
    msi, l1, l2 = (read(scene / f"{name}.tif") for name in ("msi", "truth_l1", "truth_l2"))
    beyond = l1[0] == 255
    for layer in (*(msi == 0), l2[0] == 255):
        np.testing.assert_array_equal(layer, beyond)
    assert beyond.mean() == pytest.approx(0.6 * 0.25 / 2, rel=0.01)
    assert beyond[0, 0] and not beyond[[0, -1, -1], [-1, 0, -1]].any()


def test_ground_is_like_that_of_patches_but_none_of_it(scene, land):
    l1, l2 = (read(scene / f"truth_{level}.tif")[0] for level in ("l1", "l2"))
    valid = l2 != 255
    np.testing.assert_array_equal(l1[valid], np.array(PARENTS)[l2[valid]])
    for name, folder in (("msi.tif", "msi_images"), ("sar.tif", "sar_images")):
        image, patches = read(scene / name), mosaic(land / folder)
        here = image[:, image[0] != 0].astype(np.float64)
        there = patches.reshape(len(patches), -1).astype(np.float64)
        np.testing.assert_allclose(here.mean(axis=1), there.mean(axis=1), rtol=0.4)
        np.testing.assert_allclose(here.std(axis=1), there.std(axis=1), rtol=0.4)
    # The patch in the third row and column, 256 px from the corner of its ground, is nowhere in the scene.
    patch = read([*layer_files(land / "semantic_14c").values()][12])[0]
    windows = np.lib.stride_tricks.sliding_window_view(l2, patch.shape)[::4, ::4, ::16, ::16]
    assert (windows == patch[::16, ::16]).mean(axis=(2, 3)).max() < 0.95


def test_radar_lies_where_the_optical_image_does(scene):
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
