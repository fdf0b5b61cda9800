"""Arrays and JSON files that hold something else: taken or refused, and no code in them runs."""

import json
import struct
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from cell import Cell, assert_no_fault, cells
from conftest import patch_file, write_patch
from hypothesis import given

from cerraseg.core.errors import DataError
from cerraseg.data import index, statistics, tables
from cerraseg.data import packed as store
from cerraseg.evaluation import benchmark, leakage

cell = pytest.fixture(cells, scope="module")
READERS = [statistics.read_bands, benchmark._read]


def npy(header):
    text = header.encode()
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n") + b"cos\nsystem\n(S'id'\ntR.",
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 8)}\n"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}\n"),
        npy("[" * 9000 + "\n"),
        b"PK\x03\x04" + bytes(50),
    ],
    ids=range(6),
)
def test_what_is_no_array_is_refused(cell: Cell, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "prediction.npy").write_bytes(content)
    assert cell.run(store.open_array, tmp_path / "prediction.npy").kind == "refused"


keys = st.sampled_from(["bands", "B01", "mean", "folder", "checkpoints", "scenario", "id", "scores"])
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner)),
    max_leaves=8,
)


@given(reader=st.sampled_from(READERS), content=values)
def test_any_json_is_taken_or_refused(cell: Cell, tmp_path_factory, reader, content) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(content))
    assert_no_fault(cell.run(reader, path))


@pytest.mark.parametrize("reader", READERS)
def test_deep_json_is_refused(cell: Cell, tmp_path: Path, reader) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)
    assert cell.run(reader, tmp_path / "deep.json").kind == "refused"


def test_an_id_that_reads_as_missing_is_one(tmp_path: Path) -> None:
    pd.DataFrame({"id": ["NA", "nan", "null", "7"], "split": ["train"] * 4}).to_csv(tmp_path / "s.csv", index=False)
    assert tables.read_split(tmp_path / "s.csv")["id"].tolist() == ["NA", "nan", "null", "7"]
    table = {"id": ["NA", "7"], "metres": [1.0, 2.0], "centre_metres": [3.0, 4.0], "touches": [True, False]}
    pd.DataFrame(table).to_csv(tmp_path / "d.csv", index=False)
    assert leakage.leakage_summary(np.ones((2, 7, 7), int), ["NA", "7"], tmp_path / "d.csv")["median_metres"] == 1.5


def test_a_file_whose_name_is_no_text_is_named(tmp_path: Path) -> None:
    write_patch(tmp_path / "root", "42")
    path = patch_file(tmp_path / "root", "msi", "42")
    path.rename(path.with_name(b"ms_\xff.tif".decode(errors="surrogateescape")))
    with pytest.raises(DataError):
        index.find_patches([tmp_path / "root"])
