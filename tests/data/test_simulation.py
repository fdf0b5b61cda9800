import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import rasterio

from cerraseg.data.simulation import patches as module
from cerraseg.core.errors import ConfigError
from cerraseg.data.simulation.window import Window, salts
from cerraseg.data.simulation.landscape import landscape
from cerraseg.data.simulation.patches import simulate
from cerraseg.core.taxonomy import LEVELS, MSI_BANDS, SAR_BANDS

REFERENCE = Path(__file__).parents[2] / "reference" / "band_statistics.json"
NAMES = {
    "msi_images": "parrot_beak_ms_{}.tif",
    "sar_images": "parrot_beak_sar_{}.tif",
    "semantic_7c": "mask_parrot_beak_7classes_{}.tif",
    "semantic_14c": "parrot_beak_terraclass_classes_14c_{}.tif",
    "edge_7c": "edge_parrot_beak_7c_{}.tif",
    "edge_14c": "edge_parrot_beak_14c_{}.tif",
}
SIDE = 5  # patches: the least ground that holds every class


@pytest.fixture(scope="module")
def land(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated") / "cerradata_4mm"
    simulate(folder, patches=SIDE * SIDE, seed=3)
    return folder


def ids_of(folder: Path) -> list[int]:
    return sorted(int(path.stem.rpartition("_")[2]) for path in (folder / "semantic_14c").iterdir())


def mosaic(folder: Path, name: str, size: int = 128, side: tuple[int, int] = (SIDE, SIDE)) -> npt.NDArray[np.generic]:
    """All patches of a layer side by side, in id order, (bands, H, W)."""
    patches = []
    for patch_id in ids_of(folder):
        with rasterio.open(folder / name / NAMES[name].format(patch_id)) as dataset:
            patches.append(dataset.read())
    grid = np.stack(patches).reshape(*side, -1, size, size)
    return grid.transpose(2, 0, 3, 1, 4).reshape(-1, side[0] * size, side[1] * size)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.tif")}


def test_layout_is_that_of_kaggle(land: Path) -> None:
    ids = ids_of(land)
    assert len(ids) == 25
    assert sorted(map(str, ids)) != [str(i) for i in ids]
    assert ids != list(range(ids[0], ids[0] + 25)) and ids[0] < 10 < 10_000 < ids[-1]
    looks = [(MSI_BANDS, "float32"), (SAR_BANDS, "float32")]
    looks += [(("class",), "int32")] * 2 + [(("edge",), "uint8")] * 2
    for (name, pattern), (bands, dtype) in zip(NAMES.items(), looks, strict=True):
        assert {path.name for path in (land / name).iterdir()} == {pattern.format(i) for i in ids}
        with rasterio.open(land / name / pattern.format(ids[3])) as dataset:
            assert (dataset.shape, dataset.descriptions, {*dataset.dtypes}) == ((128, 128), bands, {dtype})
            assert dataset.crs.to_epsg() == 4326
            assert dataset.transform.a == -dataset.transform.e == pytest.approx(8.983e-5)


def test_patches_of_a_scene_touch_and_scenes_do_not(tmp_path: Path) -> None:
    simulate(tmp_path / "out", patches=7, seed=1, scenes=2, size=16)
    corners = []
    for patch_id in ids_of(tmp_path / "out"):
        with rasterio.open(tmp_path / "out/msi_images" / NAMES["msi_images"].format(patch_id)) as dataset:
            assert -7.5 < dataset.bounds.bottom < dataset.bounds.top < -5 and -49 < dataset.bounds.left < -46
            corners.append((dataset.bounds.left, dataset.bounds.top))
    step = 16 * 8.983e-5
    place = (np.array(corners) - corners[0]) / step
    second = place[4, 0]
    assert second > 10
    expected = [(0, 0), (1, 0), (0, -1), (1, -1), (second, 0), (second + 1, 0), (second, -1)]
    np.testing.assert_allclose(place, expected, atol=1e-6)


def test_equal_arguments_give_equal_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    for name, seed, workers in (("one", 5, 1), ("two", 5, 2), ("other", 6, 1)):
        simulate(tmp_path / name, patches=20, seed=seed, scenes=2, size=32, workers=workers)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    first, other = (mosaic(tmp_path / name, "msi_images", 32, side=(4, 5)) for name in ("one", "other"))
    assert (first != other).mean() > 0.9


def test_windows_of_the_landscape_fit_together() -> None:
    whole = landscape(salts(4, 1), Window(500, 400, 300, 420))
    part = landscape(salts(4, 1), Window(630, 600, 90, 150))
    for one, other in zip(whole, part, strict=True):
        np.testing.assert_array_equal(one[130:220, 200:350], other)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_class_has_its_floor_on_the_least_ground(seed: int) -> None:
    l2 = landscape(salts(seed, 0), Window(0, 0, 640, 640)).l2
    shares = np.bincount(l2.ravel(), minlength=14) / l2.size
    assert shares.min() > 0.002
    assert shares[[0, 1]].sum() > 0.6


def test_l1_is_the_parent_of_l2_and_edges_are_changes_between_4_neighbours(land: Path) -> None:
    parents = np.array([c.parent for c in LEVELS["l2"]])
    np.testing.assert_array_equal(mosaic(land, "semantic_7c"), parents[mosaic(land, "semantic_14c")])
    for classes, edges in (("semantic_7c", "edge_7c"), ("semantic_14c", "edge_14c")):
        mask = np.pad(mosaic(land, classes)[0], 1, mode="edge")
        inner = mask[1:-1, 1:-1]
        around = (mask[:-2, 1:-1], mask[2:, 1:-1], mask[1:-1, :-2], mask[1:-1, 2:])
        expected = np.any([inner != neighbour for neighbour in around], axis=0)
        np.testing.assert_array_equal(mosaic(land, edges)[0], expected)
        assert 0.01 < expected.mean() < 0.25


def test_band_statistics_are_near_the_published(tmp_path: Path) -> None:
    simulate(tmp_path / "out", patches=64, seed=1, scenes=16)
    for name, key in (("msi_images", "msi"), ("sar_images", "sar")):
        published = json.loads(REFERENCE.read_text())[key]
        values = mosaic(tmp_path / "out", name, side=(8, 8)).reshape(len(published["mean"]), -1).astype(np.float64)
        assert values.min() > 0
        np.testing.assert_allclose(values.mean(axis=1), published["mean"], rtol=0.15)
        np.testing.assert_allclose(values.std(axis=1), published["std"], rtol=0.35)


def recall(values: npt.NDArray[np.float64], classes: npt.NDArray[np.int64], count: int) -> float:
    """Macro recall of linear discriminant analysis, taught on the western half of the pixels, on the eastern half."""
    west, east = slice(0, len(classes) // 2), slice(len(classes) // 2, None)
    known = [values[west][classes[west] == c] for c in range(count)]
    means = np.array([part.mean(axis=0) for part in known])
    within = sum(np.cov(part.T) * len(part) for part in known) / len(classes[west])
    whiten = np.linalg.inv(np.linalg.cholesky(within))
    distance = ((values[east] @ whiten.T)[:, None] - (means @ whiten.T)[None]) ** 2
    guess = distance.sum(axis=2).argmin(axis=1)
    return float(np.mean([(guess[classes[east] == c] == c).mean() for c in range(count)]))


def test_classes_can_be_told_apart_but_not_all_of_them(land: Path) -> None:
    # Even columns teach, odd ones are asked: both halves hold every class.
    order = np.arange(SIDE * 128).reshape(-1, 2).T.ravel()
    msi, sar = (np.log(mosaic(land, name)[:, ::2, order]) for name in ("msi_images", "sar_images"))
    layers = {"msi": msi, "sar": sar, "concat": np.concatenate([msi, sar])}
    score = {}
    for level, folder in (("l1", "semantic_7c"), ("l2", "semantic_14c")):
        classes = mosaic(land, folder)[0, ::2, order].ravel()
        for name, layer in layers.items():
            values = layer.transpose(2, 1, 0).reshape(-1, len(layer)).astype(np.float64)
            score[level, name] = recall(values, classes.astype(np.int64), len(LEVELS[level]))
    assert 0.7 < score["l1", "msi"] < 0.97 and 0.45 < score["l2", "msi"] < 0.85
    for level in ("l1", "l2"):
        assert 1.5 / len(LEVELS[level]) < score[level, "sar"] < score[level, "msi"] - 0.15
        assert score[level, "msi"] < score[level, "concat"]
    assert all(score["l1", name] > score["l2", name] + 0.05 for name in layers)


def test_a_run_that_fails_leaves_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(tmp_path / "out", patches=2, seed=1, size=16)
    before = contents(tmp_path / "out")
    write, calls = module._write_tif, []
    monkeypatch.setattr(module, "_write_tif", lambda *given: write(*given) if not calls else 1 / 0)
    simulate(tmp_path / "out", patches=1, seed=1, size=16)
    assert len(contents(tmp_path / "out")) == 6 < len(before)
    before = contents(tmp_path / "out")
    calls.append(1)
    with pytest.raises(ZeroDivisionError):
        simulate(tmp_path / "out", patches=4, seed=1, size=16)
    assert [path.name for path in tmp_path.iterdir()] == ["out"] and contents(tmp_path / "out") == before


def test_more_scenes_than_patches_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="9 scenes for 8 patches"):
        simulate(tmp_path / "out", patches=8, seed=1, scenes=9)
    assert not list(tmp_path.iterdir())


def test_with_drift_classes_look_different_from_region_to_region(tmp_path: Path) -> None:
    """The land is the same; within a class, far places differ more than the same places without drift do."""
    spread, masks = [], []
    for name, drift in (("alike", 0.0), ("drifting", 0.4)):
        simulate(tmp_path / name, patches=64, seed=1, drift=drift, size=32)
        masks.append(mosaic(tmp_path / name, "semantic_7c", 32, (64, 1))[0].reshape(64, -1))
        infrared = mosaic(tmp_path / name, "msi_images", 32, (64, 1))[7].reshape(64, -1)
        forest = [pixels[mask == 1] for pixels, mask in zip(infrared, masks[-1], strict=True) if (mask == 1).sum() > 200]
        spread.append(np.log([np.median(pixels - 1000) for pixels in forest]).std())
    assert (masks[0] == masks[1]).all()
    assert spread[1] > 1.5 * spread[0]
