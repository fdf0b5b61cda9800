"""The published split, bit for bit, and that no patch is lost or used twice."""

import random

import pandas as pd
import pytest
import torch
from scenes import CERRADATA
from torch.utils.data import random_split

from cerraseg.core.errors import DataError
from cerraseg.data.splits.assign import PARTS, paper_split, write_split

SHARES = {"train": 0.72, "validation": 0.18, "test": 0.1}
IDS = [str(7 * k % 43_000) for k in range(1, 500)]


def published(ids, validation_seed=666):
    return pd.Series(paper_split(ids, SHARES, 42, validation_seed)).loc[ids]


@pytest.mark.parametrize("count", [499, 101])
def test_equals_the_published_procedure_worked_by_hand(count):
    names = sorted(f"{id_}.tif" for id_ in IDS[:count])
    random.seed(42)
    random.shuffle(names)
    learn, test = names[: int(0.9 * len(names))], names[int(0.9 * len(names)) :]
    learn.sort()
    size = int(0.8 * len(learn))
    halves = random_split(learn, [size, len(learn) - size], torch.Generator().manual_seed(666))
    expected = {name[:-4]: part for part, chosen in zip(PARTS, [*halves, test], strict=True) for name in chosen}
    assert published(IDS[:count]).to_dict() == expected


def test_the_validation_seed_leaves_the_test_part_alone():
    first, second = published(IDS), published(IDS, 1)
    assert ((first == "test") == (second == "test")).all() and (first != second).any()


@pytest.mark.filterwarnings("ignore:Length of split")
def test_empty_part_is_refused(tmp_path):
    table, split = tmp_path / "t.parquet", tmp_path / "s.csv"
    pd.DataFrame({"id": ["1", "2"]}).to_parquet(table)
    with pytest.raises(DataError, match="leave train empty"):
        write_split(table, split, CERRADATA, scheme="paper", shares=SHARES, seed=42, validation_seed=666)
