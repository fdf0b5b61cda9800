"""Tables and arrays that hold something else: taken or refused, and no code in them runs."""

import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cell import Cell, cells
from conftest import patch_file, write_patch
from scenes import CERRADATA

from cerraseg.core.errors import DataError
from cerraseg.data import index, tables
from cerraseg.data import packed as store
from cerraseg.evaluation import leakage

cell = pytest.fixture(cells, scope="module")


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
        index.find_patches([tmp_path / "root"], CERRADATA)
