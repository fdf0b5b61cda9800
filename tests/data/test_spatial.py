"""Splits by place, on many made-up layouts: groups stay whole, the buffer holds, folds cover all, seeds decide."""

import numpy as np
import pandas as pd
import pytest
from layouts import SHARES, every_gap, grid, labelled, scattered, written
from scenes import CERRADATA

from cerraseg.core.errors import DataError
from cerraseg.data.splits.assign import PARTS, write_fold, write_split
from cerraseg.geo.positions import locate

BLOCKS = {"scheme": "blocks", "block_km": 3.0, "buffer_km": 0.0, "tolerance": 0.15}
SITES = {"scheme": "sites", "site_gap_km": 1.5, "buffer_km": 0.0, "tolerance": 0.15}
SITES |= {"test_sites": [], "validation_sites": []}
KFOLD = {"scheme": "kfold", "unit": "blocks", "block_km": 3.0, "folds": 4, "tolerance": 0.15}


def split(table, folder, *, seed=1, validation_seed=2, **settings):
    seeds = {"seed": seed, "validation_seed": validation_seed}
    write_split(written(table, folder), folder / "split.csv", CERRADATA, shares=SHARES, **seeds, **settings)
    found = pd.read_csv(folder / "split.csv", dtype={"id": str})
    assert found["id"].tolist() == table["id"].tolist()
    return found


def folded(folder, fold, *, validation_seed=2, buffer_km=0.0):
    files = [folder / name for name in ("patches.parquet", "split.csv", "fold.csv")]
    limits = {"buffer_km": buffer_km, "tolerance": 0.15}
    write_fold(*files[:2], CERRADATA, *files[2:], fold=fold, shares=SHARES, validation_seed=validation_seed, **limits)
    return pd.read_csv(folder / "fold.csv", dtype={"id": str})


def apart(rows=4):
    """Five sites in two systems, 10 patches apart: more of the first ones."""
    parts = [grid("EPSG:4326", rows, 4, first=100), grid("EPSG:4326", rows, 3, first=200, east=30)]
    parts += [grid("EPSG:32723", 2, 4, first=300, south=100), grid("EPSG:32723", 2, 2, first=400, south=130)]
    parts += [grid("EPSG:4326", 2, 2, first=500, east=60)]
    return labelled(pd.concat(parts, ignore_index=True), np.random.default_rng(0))


def check_whole(found, column="split"):
    parts = found[found[column] != "buffer"]
    assert (parts.groupby("group")[column].nunique() == 1).all()


def check_shares(found):
    for part in PARTS:
        assert (found["split"] == part).mean() == pytest.approx(SHARES[part], abs=0.15)


def check_buffer(table, found, buffer_km):
    """By brute force: training patches are farther away than the buffer, and no patch is in it for nothing."""
    parts, places = found["split"].to_numpy(), locate(table)
    held = np.flatnonzero(np.isin(parts, ["validation", "test"]))
    for part, inside in (("train", False), ("buffer", True)):
        rows = np.flatnonzero(parts == part)
        nearest = every_gap(places, rows, held).min(axis=1, initial=np.inf)
        assert ((nearest <= 1000 * buffer_km) == inside).all()


@pytest.mark.parametrize("layout", range(2))
def test_blocks_stay_whole_and_no_training_patch_is_in_the_buffer(layout, tmp_path):
    table = scattered(layout)
    plain = split(table, tmp_path, **BLOCKS)
    check_whole(plain)
    check_shares(plain)
    for buffer_km in (0.001, 1.5):
        found = split(table, tmp_path, **BLOCKS | {"buffer_km": buffer_km})
        check_buffer(table, found, buffer_km)
        moved = found["split"] == "buffer"
        assert moved.any() and (plain["split"][moved] == "train").all()
        assert (plain["split"][~moved] == found["split"][~moved]).all()


@pytest.mark.parametrize("layout", range(2))
@pytest.mark.parametrize("unit", ["blocks", "sites"])
def test_folds_test_each_patch_once(layout, unit, tmp_path):
    table = scattered(layout)
    if unit == "sites":  # single patches and clumps
        table = table[np.random.default_rng(layout).random(len(table)) < 0.2].reset_index(drop=True)
    folds = split(table, tmp_path, **KFOLD | {"unit": unit, "site_gap_km": 0.0})
    assert set(folds["split"]) == {"test"} and set(folds["fold"]) == {1, 2, 3, 4}
    check_whole(folds, "fold")
    tested = []
    for fold in range(1, 5):
        found = folded(tmp_path, fold, buffer_km=1.0)
        assert list(found) == ["id", "split", "group"] and found["group"].equals(folds["group"])
        assert ((found["split"] == "test") == (folds["fold"] == fold)).all()
        check_whole(found)
        check_buffer(table, found, 1.0)
        learnt = found["split"] != "test"
        share = (found["split"] == "validation").sum() / learnt.sum()
        assert abs(share - SHARES["validation"] / (1 - SHARES["test"])) < 0.15
        tested += found["id"][~learnt].tolist()
    assert sorted(tested) == sorted(table["id"])
    with pytest.raises(DataError, match="no fold 5; expected 1 to 4"):
        folded(tmp_path, 5)
    folds[::-1].to_csv(tmp_path / "split.csv", index=False)
    with pytest.raises(DataError, match="in its order"):
        folded(tmp_path, 1)


@pytest.mark.parametrize("settings", [BLOCKS | {"buffer_km": 0.5}, KFOLD])
def test_the_seeds_and_nothing_else_decide(settings, tmp_path):
    """And that of the validation part leaves the test part alone."""

    def found(validation_seed=2, **seed):
        whole = split(scattered(2), tmp_path, **settings, **seed, validation_seed=validation_seed)
        return folded(tmp_path, 1, validation_seed=validation_seed) if settings is KFOLD else whole

    first, other = found(), found(3)
    pd.testing.assert_frame_equal(first, found())
    assert ((first["split"] == "test") == (other["split"] == "test")).all() and not first.equals(other)
    assert not first.equals(found(seed=7))


def test_rare_classes_reach_each_part(tmp_path):
    random = np.random.default_rng(5)
    table = labelled(grid("EPSG:32723", 24, 24), random, rare=12)
    found = split(table, tmp_path, **BLOCKS)
    counts = table[[f"l1_{k}" for k in range(7)]].groupby(found["split"].to_numpy()).sum()
    assert (counts > 0).all(axis=None)
    np.testing.assert_allclose((counts / counts.sum()).loc["test", ["l1_0", "l1_1", "l1_2"]], 0.2, atol=0.02)


def test_a_class_that_a_part_lacks_is_told_and_the_finest_level_stratifies(tmp_path, caplog):
    table = labelled(grid("EPSG:32723", 12, 12), np.random.default_rng(5), rare=1)
    found = split(table, tmp_path, **BLOCKS)
    assert "Other uses" in caplog.text
    finer = table.assign(l2="x", **{f"l2_{k}": 100 if k == 3 else 0 for k in range(14)})
    assert not found.equals(split(finer, tmp_path, **BLOCKS))


def test_sites_stay_whole_and_named_ones_go_where_the_patterns_say(tmp_path):
    found = split(apart(), tmp_path, **SITES)
    assert found["group"].nunique() == 5
    check_whole(found)
    check_shares(found)
    found = split(apart(), tmp_path, **SITES | {"test_sites": ["*/mask_30?.tif"], "validation_sites": ["*_20[01].tif"]})
    check_whole(found)
    ids = found["id"].astype(int) // 100
    assert found["split"].tolist() == ids.map({2: "validation", 3: "test"}).fillna("train").tolist()
    found = split(apart(), tmp_path, **SITES | {"test_sites": ["*/mask_1*.tif"]})
    assert ((found["split"] == "test") == (ids == 1)).all()
    assert (found["split"][ids != 1] == "validation").mean() == pytest.approx(0.25, abs=0.15)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (SITES | {"test_sites": ["*/denmark/*"]}, r"test_sites: '\*/denmark/\*'"),
        (SITES | {"test_sites": ["*_100.tif"], "validation_sites": ["*_101.tif"]}, "site 1"),
        (SITES | {"test_sites": ["*"]}, "train 0.000 .*site_gap_km"),
        (SITES | {"site_gap_km": 300.0}, "the 1 groups .* train 1.000"),
        (SITES | {"tolerance": 0.001}, "within 0.001"),
        (BLOCKS | {"buffer_km": 500.0}, "buffer_km"),
        (KFOLD | {"block_km": 900.0}, "the 2 groups .* fold 2 0.000"),
    ],
)
def test_what_cannot_be_is_refused_with_a_remedy(change, message, tmp_path):
    with pytest.raises(DataError, match=message):
        split(apart(), tmp_path, **change)
    assert not (tmp_path / "split.csv").exists()
