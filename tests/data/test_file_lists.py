"""The published test part is known by its pixels of each class, whichever list of files it was drawn from."""

import json
from functools import cache

import numpy as np
import pandas as pd
import pytest
from region import REGION
from scenes import CERRADATA

from cerraseg.core.layout import SOURCE
from cerraseg.data.splits import file_lists
from cerraseg.data.splits.assign import paper_split, write_split
from cerraseg.data.splits.file_lists import by_file_list, published_test_part

PUBLISHED = pd.read_csv(SOURCE / "reference/classes.csv")["test_pixels"].to_numpy()
COLUMNS = CERRADATA.levels["l2"].count_columns()
ALL, FINITE, WHOLE = file_lists.LISTS


def tried(name, files, test, published):
    return {"name": name, "files": files, "test": test, "published": published}


def by_position(ids):
    """Every tenth patch tests, as the position decides in the published split, too."""
    return {id_: "test" if k % 10 == 9 else "train" for k, id_ in enumerate(ids)}


@cache
def patches(count):
    return marked_patches(count)


def marked_patches(count, **marked):
    """A patch table with the published counts in the test part that the split of the unmarked patches has.

    ``marked`` has places → value of columns, of patches that the authors' list lacked.
    """
    table = pd.DataFrame({"id": [f"{k:05}" for k in range(count)], "gaps": 0, "edge_l1": "a.tif"})
    for column, (places, value) in marked.items():
        table.loc[places, column] = value
    listed = table["id"][(table["gaps"] == 0) & (table["edge_l1"] != "")]
    test = table["id"].map(by_position(listed)) == "test"
    order = np.repeat(np.arange(14), PUBLISHED).reshape(-1, 128 * 128)
    counts = np.zeros((count, 14), int)
    counts[test] = [np.bincount(pixels, minlength=14) for pixels in order]
    return table.assign(**dict(zip(COLUMNS, counts.T, strict=True)))


def test_published_counts_are_3028_patches_of_a_list_of_30280():
    table = patches(30_280)
    parts, lists = by_file_list(table, CERRADATA, by_position)
    assert lists == [tried(ALL, 30_280, 3_028, True)] and parts.count("test") == 3_028
    lost = table.copy()
    lost.loc[9, COLUMNS] -= 40 * (lost.loc[9, COLUMNS] > 0)  # pixels that no label reaches, as a band has no data there
    assert by_file_list(lost, CERRADATA, by_position)[1][0]["published"]
    other = table.copy()
    other.loc[9, COLUMNS] = np.roll(other.loc[9, COLUMNS], 1)
    assert not by_file_list(other, CERRADATA, by_position)[1][0]["published"]


@pytest.mark.parametrize(
    ("marked", "name"),
    [({"gaps": ([0, 7, 99], 5)}, FINITE), ({"edge_l1": ([0, 7, 99], "")}, WHOLE)],
)
def test_lists_are_tried_in_order_and_what_they_lack_is_unused(marked, name):
    table = marked_patches(30_283, **marked)
    parts, lists = by_file_list(table, CERRADATA, by_position)
    assert lists == [tried(ALL, 30_283, 3_028, False), tried(name, 30_280, 3_028, True)]
    assert [k for k, part in enumerate(parts) if part == "buffer"] == [0, 7, 99]


def test_one_file_more_is_recognised_by_no_list():
    table = patches(30_280)
    more = pd.concat([pd.DataFrame([table.iloc[0].to_dict() | {"id": "0"}]), table], ignore_index=True)
    parts, lists = by_file_list(more, CERRADATA, by_position)
    assert [one["published"] for one in lists] == [False] and "buffer" not in parts
    assert by_file_list(more, REGION, by_position)[1][0]["published"] is False


def test_rejected_patches_leave_their_part_and_nothing_moves(packed, tmp_path):
    table, shares = pd.read_parquet(packed / "patches.parquet"), {"train": 0.5, "validation": 0.25, "test": 0.25}
    table.attrs["rejected"] = [{"id": id_, "finite": False, "whole": True} for id_ in ("101", "30")]
    paths = [tmp_path / name for name in ("patches.parquet", "split.csv", "split.json")]
    table.to_parquet(paths[0])
    options = {"scheme": "paper", "shares": shares, "seed": 42, "validation_seed": 666}
    write_split(*paths[:2], CERRADATA, facts=paths[2], **options)
    whole = paper_split(sorted([*table["id"], "101", "30"]), shares, 42, 666)
    split = pd.read_csv(paths[1], dtype=str)
    assert dict(zip(split["id"], split["split"], strict=True)) == {id_: whole[id_] for id_ in table["id"]}
    lists = json.loads(paths[2].read_text())["file_lists"]
    assert [(one["name"], one["files"], one["test"]) for one in lists] == [(ALL, 14, 4), (FINITE, 12, 3)]
    published, said = published_test_part(paths[2])
    assert not published and "all files (14, of which 4 test)" in said
    blocks = {"scheme": "blocks", "block_km": 1, "buffer_km": 0, "tolerance": 1}
    write_split(*paths[:2], CERRADATA, facts=paths[2], **options | blocks)
    assert published_test_part(paths[2]) == (False, "")
