"""The table of areas: by hand, as a file, and from the step scripts."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import rasterio
from rasterio import Affine

from cerraseg.core.errors import DataError
from cerraseg.core.taxonomy import LEVELS
from cerraseg.evaluation import area_estimates, areas
from cerraseg.report.map_description import SceneMap, write_areas

L1 = LEVELS["l1"]
SCRIPTS = Path(__file__).parents[2] / "workflow/scripts"
HECTARE = 0.01 / 0.9996**2  # of a pixel of 10 m on the central meridian


def write_map(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = values.shape
    options = {"driver": "GTiff", "height": height, "width": width, "count": 1, "dtype": "uint8", "nodata": 255}
    with rasterio.open(path, "w", crs="EPSG:32722", transform=Affine(10, 0, 5e5, 0, -10, 8.1e6), **options) as file:
        file.write(values, 1)
    return path


@pytest.fixture
def scene(tmp_path):
    """60 × 100 pixels: Pasture, then Forest."""
    values = np.zeros((60, 100), np.uint8)
    values[:, 60:] = 1
    return write_map(tmp_path / "map/classes.tif", values)


@pytest.fixture
def counts():
    """Three patches with Pasture and Forest, the map right in 12 of 15 and 8 of 9 pixels."""
    return np.pad(np.repeat([[[4, 0], [1, 3]]], 3, axis=0), ((0, 0), (0, 5), (0, 5))).astype(np.uint16)


def test_mapped_areas_alone(scene):
    table = area_estimates.area_table([scene], None, L1, area_estimates.TEST_PATCHES)
    assert list(table) == ["id", "name", "pixels", "hectares", "share"]
    assert table["id"].isna().tolist() == [False] * 7 + [True] and table["name"].iloc[-1] == "Total"
    assert table["pixels"].tolist() == [3600, 2400, 0, 0, 0, 0, 0, 6000]
    assert table["hectares"].to_numpy() == pytest.approx(table["pixels"].to_numpy() * HECTARE, rel=1e-6)
    assert table["share"].to_numpy() == pytest.approx([60, 40, 0, 0, 0, 0, 0, 100], rel=1e-6)


def test_estimates_by_hand(scene, counts):
    table = area_estimates.area_table([scene], counts, L1, area_estimates.TEST_PATCHES)
    pasture, forest, absent, total = (table.iloc[row] for row in (0, 1, 2, 7))
    assert (table["basis"] == "test patches").all()
    assert table["sample_blocks"].tolist() == [3, 3, 0, 0, 0, 0, 0, 3]
    assert table["sample_pixels"].tolist() == [15, 9, 0, 0, 0, 0, 0, 24]
    mapped = 6000 * HECTARE
    assert pasture["adjusted_hectares"] == pytest.approx(0.48 * mapped, rel=1e-6)
    assert forest["adjusted_hectares"] == pytest.approx(0.52 * mapped, rel=1e-6)
    assert total["adjusted_hectares"] == total["hectares"] == pytest.approx(mapped, rel=1e-6)
    assert pasture["adjusted_ci95"] == pytest.approx(1.96 * 0.6 * mapped * (0.8 * 0.2 / 14) ** 0.5, rel=1e-6)
    assert pasture["adjusted_low"] == pasture["adjusted_high"] == pytest.approx(0.48 * mapped, rel=1e-6)
    assert (pasture["users_accuracy"], forest["users_accuracy"]) == (0.8, 1)
    assert pasture["users_ci95"] == pytest.approx(1.96 * (0.8 * 0.2 / 14) ** 0.5)
    assert forest["producers_accuracy"] == pytest.approx(0.4 / 0.52)
    for side in ("low", "high"):
        assert pasture[f"users_{side}"] == pytest.approx(0.8)
        assert forest[f"producers_{side}"] == pytest.approx(0.4 / 0.52)
        assert total[f"users_{side}"] == total[f"producers_{side}"] == pytest.approx(0.88)
    assert total["users_accuracy"] == total["producers_accuracy"] == pytest.approx(0.88)
    assert total[["adjusted_ci95", "adjusted_low", "adjusted_high"]].isna().all()
    assert absent.filter(regex="adjusted|users|producers").isna().all()


def test_the_totals_are_means_of_the_column(scene, counts):
    """The overall accuracy: user's accuracies by mapped area, producer's by adjusted area."""
    table = area_estimates.area_table([scene], counts, L1, area_estimates.TEST_PATCHES).iloc[[0, 1, 7]]
    for accuracy, weight in (("users_accuracy", "hectares"), ("producers_accuracy", "adjusted_hectares")):
        *classes, total = table[accuracy]
        assert np.average(classes, weights=table[weight].iloc[:2]) == pytest.approx(total)


def test_file_and_back(scene, counts, tmp_path):
    table = area_estimates.area_table([scene], counts, L1, area_estimates.REFERENCE_MASK)
    paths = [tmp_path / "first.csv", tmp_path / "second.csv"]
    for path in paths:
        area_estimates.write_area_table(path, table)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    lines = paths[0].read_text().split("\n")
    assert lines[1].startswith("0,Pasture,3600,36.0288,60.0000,reference mask,3,15,28.8231,")
    assert lines[3] == "2,Agriculture,0,0.0000,0.0000,reference mask,0,0" + "," * 12
    assert lines[8].startswith(",Total,6000,60.0480,100.0000,reference mask,3,24,60.0480,,,,0.880000,")
    back = area_estimates.read_area_table(paths[0])
    pd.testing.assert_frame_equal(back, table, check_exact=False, rtol=0, atol=5e-5)
    area_estimates.write_area_table(paths[1], back)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_map_without_data(tmp_path):
    path = write_map(tmp_path / "empty.tif", np.full((10, 10), 255, np.uint8))
    table = area_estimates.area_table([path], np.zeros((0, 7, 7), np.int64), L1, area_estimates.REFERENCE_MASK)
    assert table["hectares"].sum() == 0 and table["share"].isna().all()
    assert table.filter(regex="adjusted|users|producers").isna().all(axis=None)


def test_counts_of_another_level(scene):
    with pytest.raises(DataError, match="take counts and map of one level"):
        area_estimates.area_table([scene], np.ones((4, 14, 14), int), L1, area_estimates.TEST_PATCHES)


@pytest.mark.parametrize("text", [None, "", "id,name\n0,Pasture\n", "id,name,pixels,hectares,share\n0,Pasture,x,1,1\n"])
def test_unreadable_tables(tmp_path, text):
    path = tmp_path / "areas.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=r"areas\.csv cannot be read as a table of areas"):
        area_estimates.read_area_table(path)


def run(script, tmp_path, **inputs):
    output = tmp_path / f"{script}.csv"
    stub = SimpleNamespace(
        input=SimpleNamespace(**{name: str(path) for name, path in inputs.items()}),
        output=SimpleNamespace(areas=str(output)),
        params=SimpleNamespace(scenario={"level": "l1"}),
        log=[str(tmp_path / "log.txt")],
    )
    runpy.run_path(str(SCRIPTS / f"{script}.py"), init_globals={"snakemake": stub}, run_name="__main__")
    return area_estimates.read_area_table(output)


@pytest.fixture
def patches(counts, tmp_path):
    np.savez_compressed(tmp_path / "patches.npz", ids=np.array(["1", "2", "3"]), confusion=counts)
    return tmp_path / "patches.npz"


def test_step_of_a_mosaic_sums_its_maps(scene, patches, tmp_path):
    for crs in ("epsg32722", "epsg32723"):
        write_map(tmp_path / f"mosaic/prediction_{crs}.tif", np.zeros((10, 10), np.uint8))
    write_map(tmp_path / "mosaic/confidence_epsg32722.tif", np.full((10, 10), 99, np.uint8))
    table = run("areas", tmp_path, mosaic=tmp_path / "mosaic", patches=patches)
    assert table["pixels"].tolist() == [200, 0, 0, 0, 0, 0, 0, 200]
    assert (table["basis"] == "test patches").all() and table["sample_pixels"].iloc[-1] == 24
    assert table["adjusted_hectares"].iloc[0] == pytest.approx(0.8 * 200 * HECTARE, abs=1e-4)


def test_step_of_a_scene_prefers_its_reference(scene, patches, tmp_path):
    made, out = SceneMap("s", "unet", "l1", "data", scene.parent, tmp_path / "truth"), tmp_path / "areas.csv"
    write_areas(made, patches, out)
    assert (area_estimates.read_area_table(out)["basis"] == "test patches").all()
    truth = np.full((60, 100), 255, np.uint8)
    truth[:, 50:70] = 1
    reference = write_map(tmp_path / "truth/l1/truth.tif", truth)
    write_areas(made, patches, out)
    table = area_estimates.read_area_table(out)
    assert (table["basis"] == "reference mask").all()
    assert table["sample_pixels"].tolist() == [600, 600, 0, 0, 0, 0, 0, 1200]
    counts = areas.confusion_blocks(scene, reference, L1)
    assert table["sample_blocks"].iloc[-1] == len(counts) == 1
