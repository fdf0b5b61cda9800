"""Ids of predicted patches find their rows."""

import pandas as pd
import pytest
from region import REGION
from scenes import CERRADATA

from cerraseg.core.errors import DataError
from cerraseg.data.tables import layers_of, read_ids, read_predicted_patches, write_ids


@pytest.fixture
def files(tmp_path):
    pd.DataFrame({"id": ["7", "007", "NA"], "c": [1, 2, 3]}).to_parquet(tmp_path / "patches.parquet")
    return tmp_path / "patches.parquet", tmp_path / "ids.csv"


def test_patches_come_in_the_order_of_the_ids(files):
    write_ids(files[1], ["NA", "7"])
    assert read_ids(files[1]).tolist() == ["NA", "7"]
    assert read_predicted_patches(*files)["c"].tolist() == [3, 1]


def test_unknown_ids_are_refused(files):
    write_ids(files[1], ["7", "8"])
    with pytest.raises(DataError, match=r"lacks 1 .* 8"):
        read_predicted_patches(*files)


def test_layers_are_those_of_the_columns_in_the_datasets_order():
    assert layers_of(["id", "l2", "sar", "msi", "l1", "edge_l1", "l1_0"], CERRADATA) == (["msi", "sar"], ["l1", "l2"])
    assert layers_of(["l3", "id", "dem", "msi_2"], REGION) == (["dem"], ["l3"])
