"""The published split, bit for bit, and that no patch is lost or used twice."""

import random

import pandas as pd
import pytest
import torch
from torch.utils.data import random_split

from cerraseg.core.errors import DataError
from cerraseg.data.splits.assign import PARTS, paper_split, write_split

SHARES = {"train": 0.72, "validation": 0.18, "test": 0.1}
IDS = [str(7 * k % 43_000) for k in range(1, 500)]


def test_equals_the_published_procedure_worked_by_hand():
    names = sorted(f"{id_}.tif" for id_ in IDS)
    random.seed(42)
    random.shuffle(names)
    learn, test = names[: int(0.9 * len(names))], names[int(0.9 * len(names)) :]
    learn.sort()
    size = int(0.8 * len(learn))
    halves = random_split(learn, [size, len(learn) - size], torch.Generator().manual_seed(666))
    expected = {name[:-4]: part for part, chosen in zip(PARTS, [*halves, test], strict=True) for name in chosen}
    assert paper_split(IDS, SHARES, 42, 666) == expected


def test_sizes_are_cut_down_as_published():
    sizes = pd.Series(paper_split([str(k) for k in range(101)], SHARES, 42, 666)).value_counts()
    assert [sizes[part] for part in PARTS] == [72, 18, 11]


def test_seed_changes_the_test_part_only_where_asked():
    first, second = paper_split(IDS, SHARES, 42, 666), paper_split(IDS, SHARES, 42, 1)
    assert {i for i in IDS if first[i] == "test"} == {i for i in IDS if second[i] == "test"}
    assert first != second


def test_table_is_in_row_order(packed):
    table = pd.read_parquet(packed / "patches.parquet")
    split = pd.read_csv(packed / "split.csv", dtype=str)
    assert split["id"].tolist() == table["id"].tolist()
    assert split["split"].value_counts().to_dict() == {"train": 6, "validation": 3, "test": 3}


@pytest.mark.filterwarnings("ignore:Length of split")
def test_empty_part_is_refused(tmp_path):
    pd.DataFrame({"id": ["1", "2"]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="2 patches leave train empty; add patches or change the split's shares"):
        write_split(
            tmp_path / "t.parquet", tmp_path / "s.csv", scheme="paper", shares=SHARES, seed=42, validation_seed=666
        )
