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
from cerraseg.data.simulation.ceiling import ceilings, draw_sample
from cerraseg.data.simulation.files import simulate, simulate_scene
from cerraseg.data.simulation.images import render
from cerraseg.data.simulation.land import CERRADATA, ID, PARENTS, Land
from cerraseg.data.simulation.landscape import landscape

SIDE = 5  # patches
MSI_BANDS, SAR_BANDS = CERRADATA.bands("msi"), CERRADATA.bands("sar")
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
        ("edge_7c/edge_parrot_beak_7c_{}.tif", ("class",), "uint8"),
        ("edge_14c/edge_parrot_beak_14c_{}.tif", ("class",), "uint8"),
        ("truth_7c/truth_7c_{}.tif", ("class",), "int32"),
        ("truth_14c/truth_14c_{}.tif", ("class",), "int32"),
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


def shares(land: Land, side: int = 640) -> NDArray:
    return np.bincount(landscape(land, (0, 0, side, side)).l2.ravel(), minlength=14) / side**2


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shares_are_even_or_about_the_published(seed):
    even, published = shares(Land(seed)), shares(Land(seed, rarity="published"))
    assert even.min() > 0.005 and even.max() < 0.6
    assert published[[0, 1, 2]].sum() > 0.8 and published[[ID["Mg"], ID["OU"]]].sum() < 0.02
    assert (published == 0).any()  # what is rare is missing from whole blocks


def test_windows_of_a_land_fit_together():
    """The same ground, noisy labels included, whichever window it lies in, also north-west of the origin."""
    land = Land(4, label_noise=2)
    whole = landscape(land, (-70, -50, 160, 180))
    part = landscape(land, (-10, 20, 60, 70), pad=3)
    for all_of_it, layer in zip(whole, part, strict=True):
        np.testing.assert_allclose(layer, all_of_it[57:123, 67:143], atol=1e-5)
    np.testing.assert_array_equal(part.l2, whole.l2[57:123, 67:143])
    np.testing.assert_array_equal(part.labels, whole.labels[57:123, 67:143])


def test_l1_is_the_parent_of_l2_and_edges_are_those_of_the_whole_scene(land):
    for name in ("semantic", "truth"):
        np.testing.assert_array_equal(mosaic(land / f"{name}_7c"), np.array(PARENTS)[mosaic(land / f"{name}_14c")])
    for ending in ("7c", "14c"):
        edges = derive_edges(mosaic(land / f"semantic_{ending}")[0])[1:-1, 1:-1]  # at the sides the ground goes on
        np.testing.assert_array_equal(mosaic(land / f"edge_{ending}")[0, 1:-1, 1:-1], edges)
        assert 0.01 < edges.mean() < 0.25


def test_labels_are_wrong_at_borders_and_by_whole_objects(land, tmp_path):
    labels, truth = mosaic(land / "semantic_14c")[0], mosaic(land / "truth_14c")[0]
    wrong = labels != truth
    assert 0.04 < wrong.mean() < 0.15 and wrong[ID["Wt"] == truth].mean() < 0.2
    inner = ~sum(np.roll(derive_edges(truth), (k, m), (0, 1)) for k in (-3, 0, 3) for m in (-3, 0, 3)).astype(bool)
    assert 0.01 < wrong[inner].mean() < 0.08
    simulate(tmp_path / "clean", patches=2, seed=3, size=64, label_noise=0)
    assert not (tmp_path / "clean/truth_7c").exists()
    ground = landscape(Land(3, label_noise=0), (0, 0, 99, 99))
    np.testing.assert_array_equal(ground.labels, ground.l2)


def test_band_statistics_are_near_the_published(tmp_path):
    simulate(tmp_path / "out", patches=64, seed=1, scenes=16)
    published = json.loads((SOURCE / "reference/band_statistics.json").read_text())
    for name, of in (("msi_images", published["msi"]), ("sar_images", published["sar"])):
        values = mosaic(tmp_path / "out" / name, side=(8, 8)).reshape(len(of["mean"]), -1).astype(np.float64)
        assert values.min() > 0
        np.testing.assert_allclose(values.mean(axis=1), of["mean"], rtol=0.2)
        np.testing.assert_allclose(values.std(axis=1), of["std"], rtol=0.5)


def test_speckle_has_its_looks_and_correlated_neighbours():
    land = Land(1, looks=5, texture=0)
    images, _ = render(land, (0, 0, 256, 256))
    # Twice the same ground: what differs is speckle and noise.
    again, _ = render(land._replace(looks=1e9), (0, 0, 256, 256))
    speckle = images[12] / again[12]
    assert speckle.mean() == pytest.approx(1, abs=0.01) and speckle.var() == pytest.approx(1 / 5, rel=0.05)
    assert np.corrcoef(speckle[1:].ravel(), speckle[:-1].ravel())[0, 1] == pytest.approx(2 / 3, abs=0.03)


def test_knobs_change_what_they_are_named_for():
    def spread(**settings: float) -> float:
        """Variance between the mean spectra of the woody classes, in logarithm."""
        images, ground = render(Land(2, texture=0, gain=0, haze=0, **settings), (0, 0, 384, 384))
        l2 = ground.l2[1:-1, 1:-1]
        means = [np.log(images[:12, l2 == ID[name]] - 1000).mean(axis=1) for name in ("V1", "V2", "Ft", "PR")]
        return float(np.var(means, axis=0).mean())

    assert spread() < 0.01 < spread(spectral=0.3)
    plain, bright = (render(Land(2, haze=haze), (0, 0, 128, 128))[0][:12].mean(axis=(1, 2)) for haze in (0, 0.1))
    assert (np.diff(bright - plain) < 1).all() and bright[0] > plain[0] + 500  # air scatters blue most
    means = [
        np.std([render(Land(2, gain=gain), (top, 0, 16, 16))[0][7].mean() for top in range(0, 6400, 640)])
        for gain in (0, 0.5)
    ]
    assert means[1] > 1.3 * means[0]


def test_ceilings_are_what_pixels_and_labels_can_give():
    """Of a land whose classes look alike by fours, and of one whose spectra tell them."""
    found = []
    for settings in ({"label_noise": 0.0}, {"spectral": 0.5}):
        rendered = [render(Land(1, **settings), (128 * k, 0, 128, 128)) for k in range(20)]
        found.append(ceilings([draw_sample(*one) for one in rendered]))
    alike, apart = found
    assert alike["labels"] == {"l1": 100, "l2": 100} and 80 < apart["labels"]["l2"] < apart["labels"]["l1"] < 97
    assert alike["pixel"]["l2"] < 45 < alike["pixel"]["l1"] < 70 and apart["pixel"]["l2"] > 80


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
        "truth_l1.tif": (("class",), "uint8", 255, 32722),
        "truth_l2.tif": (("class",), "uint8", 255, 32722),
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
        np.testing.assert_allclose(here.std(axis=1), there.std(axis=1), rtol=0.5)
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
