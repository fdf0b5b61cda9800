"""Estimates against the published example, exact cases and plain loops; the table by hand, as a file and from steps."""

import numpy as np
import pandas as pd
import pytest
from scenes import CERRADATA
from test_areas import write as write_map

from cerraseg.evaluation import area_estimates, areas, bootstrap
from cerraseg.evaluation.area_estimates import estimate, intervals
from cerraseg.report.map_description import SceneMap, write_areas

L1 = CERRADATA.classes("l1")
HECTARE = 0.01 / 0.9996**2  # of a pixel of 10 m on the central meridian

# Olofsson et al. 2014, table 8: rows map, columns reference; deforestation, forest gain, stable forest and non-forest.
PUBLISHED = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
HECTARES = np.array([200_000, 150_000, 3_200_000, 6_450_000]) * 0.09


def near(expected, digits):
    """Equal when rounded to so many digits."""
    return pytest.approx(expected, abs=0.5 * 10**-digits)


def test_the_published_example():
    values, errors = estimate(PUBLISHED.T, HECTARES)
    assert values.adjusted == near([21_158, 11_686, 285_770, 581_386], 0)
    assert 1.96 * errors.adjusted == near([6_158, 3_756, 15_510, 16_282], 0)
    assert values.overall == near(0.95, 2) and 1.96 * errors.overall == near(0.02, 2)
    assert values.users == near([0.88, 0.73, 0.93, 0.96], 2)
    assert 1.96 * errors.users == near([0.07, 0.10, 0.04, 0.02], 2)
    assert values.producers == near([0.75, 0.85, 0.93, 0.96], 2)
    # The paper prints 0.23 for the second and 0.01 for the last, which its own numbers do not give.
    assert 1.96 * errors.producers == near([0.21, 0.25, 0.03, 0.02], 2)


def test_ground_of_a_class_without_samples_cannot_be_shared_out():
    values, errors = estimate([[8, 2, 0], [1, 9, 0], [0, 3, 0]], [50.0, 40.0, 10.0])
    assert all(np.isnan(each).all() for each in (values.adjusted, values.producers, values.overall))
    assert values.users == pytest.approx([8 / 9, 9 / 14, np.nan], nan_ok=True)
    assert errors.users[:2] == pytest.approx([(8 / 9 / 9 / 8) ** 0.5, (9 / 14 * 5 / 14 / 13) ** 0.5])
    # Without ground the class is in nobody's way: its area is known, and nothing of it was found.
    values, errors = estimate([[8, 2, 0], [1, 9, 0], [0, 3, 0]], [50.0, 40.0, 0.0])
    assert values.adjusted == pytest.approx([50 * 8 / 9 + 40 * 2 / 14, 50 / 9 + 40 * 9 / 14, 40 * 3 / 14])
    assert values.producers[2] == 0 and np.isnan(values.users[2]) and np.isfinite(errors.adjusted).all()


def test_one_sample_gives_a_value_without_an_error():
    values, errors = estimate([[8, 0], [2, 1]], [50.0, 5.0])
    assert values.users.tolist() == [0.8, 1] and np.isnan(errors.users).tolist() == [False, True]
    assert values.adjusted == pytest.approx([40, 15])
    assert np.isnan(errors.adjusted).all() and np.isnan(errors.producers).all()
    _, without_ground = estimate([[8, 0], [2, 1]], [50.0, 0.0])
    assert without_ground.adjusted == pytest.approx(50 * np.array([1, 1]) * (0.8 * 0.2 / 9) ** 0.5)


def test_an_absent_class_has_no_estimates():
    counts, hectares = np.repeat([[[8, 2, 0], [1, 9, 0], [0, 0, 0]]], 4, axis=0), [50.0, 40.0, 0.0]
    for found in (*estimate(counts.sum(axis=0), hectares), intervals(counts, hectares)):
        for values in found[:3]:
            assert (np.isnan(values) == [False, False, True]).all()


def blocks(number=30, seed=1):
    """Counts that differ much from block to block."""
    random = np.random.default_rng(seed)
    return random.integers(0, 20, (number, 3, 3)) * random.integers(0, 3, (number, 1, 1)) + 5 * np.eye(3, dtype=int)


def test_intervals_are_percentiles_of_estimates_over_blocks():
    counts, hectares = blocks(), np.array([50.0, 40.0, 10.0])
    times = np.concatenate(list(bootstrap.times_drawn(len(counts)))).astype(int)
    assert len(times) >= 1000
    drawn = [estimate(np.repeat(counts, each, axis=0).sum(axis=0), hectares) for each in times]
    ends = intervals(counts, hectares)
    for name in ("adjusted", "users", "producers", "overall"):
        values = [getattr(one, name) for one, _ in drawn]
        assert getattr(ends, name) == pytest.approx(np.percentile(values, [2.5, 97.5], axis=0)), name


def test_ground_without_samples_widens_the_intervals_by_all_of_it():
    counts = np.repeat([[[8, 2, 0], [1, 9, 0], [0, 3, 0]]], 6, axis=0)
    ends = intervals(counts, [50.0, 40.0, 10.0])
    known = np.array([50 * 8 / 9 + 40 * 2 / 14, 50 / 9 + 40 * 9 / 14, 40 * 3 / 14])
    assert ends.adjusted == pytest.approx(np.stack([known, known + 10]))
    right = np.array([50 * 8 / 9, 40 * 9 / 14, 0])
    assert ends.producers == pytest.approx(
        np.stack([right / (known + 10), [*(right / known)[:2], 10 / (known[2] + 10)]])
    )
    assert ends.overall == pytest.approx([right.sum() / 100, (right.sum() + 10) / 100])
    assert np.isnan(ends.users).tolist() == [[False, False, True]] * 2


def test_a_class_of_one_block_has_no_interval_of_its_accuracy():
    """Its area has one: in a third of the draws the block is missing, and its mapped ground may be anything."""
    counts = np.repeat([[[8, 2, 0], [1, 9, 0], [0, 0, 0]]], 6, axis=0)
    counts[0, 2, 2] = 4
    ends = intervals(counts, [50.0, 40.0, 10.0])
    assert np.isnan(ends.users[:, 2]).all() and np.isnan(ends.producers[:, 2]).all()
    assert ends.adjusted[:, 2].tolist() == [0, 10]
    assert np.isfinite(ends.users[:, :2]).all()


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
    adjusted = [each["adjusted_hectares"] for each in (pasture, forest, total)]
    assert adjusted == pytest.approx([0.48 * mapped, 0.52 * mapped, mapped], rel=1e-6)
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


def test_step_of_a_scene_prefers_its_reference(scene, counts, tmp_path):
    patches = tmp_path / "patches.npz"
    np.savez_compressed(patches, ids=np.array(["1", "2", "3"]), confusion=counts)
    made, out = SceneMap("s", "unet", CERRADATA, "l1", "data", scene.parent, tmp_path / "truth"), tmp_path / "areas.csv"
    write_areas(made, patches, out)
    assert (area_estimates.read_area_table(out)["basis"] == "test patches").all()
    truth = np.full((60, 100), 255, np.uint8)
    truth[:, 50:70] = 1
    reference = write_map(tmp_path / "truth/l1/truth.tif", truth)
    write_areas(made, patches, out)
    table = area_estimates.read_area_table(out)
    assert (table["basis"] == "reference mask").all()
    assert table["sample_pixels"].tolist() == [600, 600, 0, 0, 0, 0, 0, 1200]
    counts = areas.confusion_blocks(scene, reference, L1, 128)
    assert table["sample_blocks"].iloc[-1] == len(counts) == 1
