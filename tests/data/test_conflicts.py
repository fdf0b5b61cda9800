"""Patches that overlap or show one labelled polygon never lie in different parts."""

import logging

import numpy as np
import pandas as pd
import pytest
from layouts import SHARES, grid, labelled, written
from scenes import CERRADATA

from cerraseg.core.errors import DataError
from cerraseg.data.splits import conflicts
from cerraseg.data.splits.assign import write_split
from cerraseg.data.splits.conflicts import check_parts, separate
from cerraseg.geo.positions import locate, overlaps

T, V, X, B = "train", "validation", "test", "buffer"


def line(*easts, **further):
    """Patches in a row, each so many patch sides east of the first place."""
    return pd.concat([grid("EPSG:32723", 1, 1, first=k, east=east) for k, east in enumerate(easts)]).assign(**further)


def separated(table, *parts):
    return separate(table, locate(table), np.array(parts, "U10"), B).tolist()


def test_overlaps_are_pairs_with_the_share_of_common_ground():
    pairs, shares = overlaps(locate(line(0, 0.25, 1, 1.9965, 5, 5)))
    assert pairs.tolist() == [[0, 1], [1, 2], [4, 5]]  # less than half a pixel is rounding
    np.testing.assert_allclose(shares, [0.75, 0.25, 1], rtol=1e-5)
    assert overlaps(locate(line(0, 0.995)))[0].tolist() == [[0, 1]]
    assert overlaps(locate(line(0, 0.9)[:1]))[0].shape == (0, 2)


def test_patches_beside_one_of_a_part_that_goes_before_are_unused():
    table = line(0, 0.5, 1, 2, 2.5, 4, 4.5, 6, 7)
    assert separated(table, X, V, T, V, T, X, T, T, T) == [X, B, T, V, B, X, B, T, T]
    assert separated(table, *[T] * 9) == [T] * 9


def test_patches_that_show_one_polygon_count_as_beside_each_other():
    polygons = [[7], [1, 7], [7, 9], [9], [], [9]]
    table = line(*range(0, 12, 2), area=["a", "a", "b", "b", "b", "a"], polygons=polygons)
    assert separated(table, X, T, T, V, V, T) == [X, B, B, V, V, T]
    assert separated(table, T, V, T, X, T, T) == [B, V, B, X, T, T]


def test_blocks_leave_no_overlap_between_parts(tmp_path):
    """Of windows at half a patch's stride, in blocks that are no multiple of it."""
    table = pd.concat(
        [grid("EPSG:32723", 24, 24, first=1000 + 1000 * k, east=k % 2 / 2, south=k // 2 / 2) for k in range(4)],
        ignore_index=True,
    )
    table = labelled(table, np.random.default_rng(0), rare=200)
    settings = {"scheme": "blocks", "block_km": 7.0, "buffer_km": 0.0, "tolerance": 0.15}
    write_split(
        written(table, tmp_path), tmp_path / "s.csv", CERRADATA, shares=SHARES, seed=1, validation_seed=2, **settings
    )
    parts = pd.read_csv(tmp_path / "s.csv")["split"].to_numpy()
    pairs = overlaps(locate(table))[0]
    first, second = parts[pairs].T
    assert ((first == second) | (first == B) | (second == B)).all()
    assert {*np.unique(parts)} == {T, V, X, B} and (parts == B).mean() < 0.5


def test_what_overlaps_leave_empty_is_refused_with_the_remedy(tmp_path):
    table = labelled(line(0, 0.5, 1, 1.5), np.random.default_rng(0))
    settings = {"scheme": "blocks", "block_km": 0.6, "buffer_km": 0.0, "tolerance": 0.3}
    with pytest.raises(DataError, match=r"empty.*tiling\.stride"):
        write_split(
            written(table, tmp_path),
            tmp_path / "s.csv",
            CERRADATA,
            shares=SHARES,
            seed=1,
            validation_seed=2,
            **settings,
        )


def test_same_ground_in_different_parts_is_refused_but_of_the_published_split(caplog):
    table, parts = line(0, 0.02, 3), np.array([X, T, T])
    with pytest.raises(DataError, match=r"split\.scheme paper: 1 pairs .* 0 and 1, which share 98%"):
        check_parts(table, parts, published=False)
    with caplog.at_level(logging.WARNING, "cerraseg"):
        check_parts(table, parts, published=True)
        assert "0 and 1, which share 98%" in caplog.messages[0]
        check_parts(line(0, 0.25, 3), parts, published=False)  # patches that overlap may be wanted
        assert "share 75%" in caplog.messages[1]
        check_parts(table, np.array([X, X, T]), published=False)
        check_parts(line(0, 1, 2), parts, published=False)
    assert len(caplog.messages) == 2


def test_windows_that_overlap_in_different_parts_are_refused():
    table = line(0, 0.5, 3, area="a")
    with pytest.raises(DataError, match="blocks"):
        check_parts(table, np.array([X, T, T]), published=False)


def test_contradictions_are_shares_of_the_common_labelled_pixels(tmp_path, monkeypatch):
    one, other = np.zeros((2, 4, 4), np.uint8)
    one[1:, 2:] = [[1, 1], [1, 255], [1, 1]]
    other[:3, :2] = [[1, 1], [1, 1], [2, 2]]
    monkeypatch.setattr(conflicts, "_positions", lambda _, path: {"one": one, "other": other}[path])
    place = {"a": 10.0, "b": 0.0, "c": 600000.0, "d": 0.0, "e": -10.0, "f": 8200000.0, "l1": "one"}
    beside = place | {"c": 600020.0, "f": 8199990.0, "l1": "other"}  # two columns east, one row south
    level = CERRADATA.levels["l1"]
    assert conflicts._contradicting(level, [(place, beside), (beside, place), (place, place)]) == [0.4, 0.4, 0]
    assert conflicts._contradicting(level, [(place, beside | {"a": 20.0})]) == [0]
