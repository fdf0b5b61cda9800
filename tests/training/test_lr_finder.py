"""The range test trains what the training would, writes nothing else, and suggests where the loss falls fastest."""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import opened
from test_train import plan

from cerraseg.core.errors import DataError
from cerraseg.training import lr_finder
from cerraseg.training.lr_finder import Outputs, find, suggestion


@pytest.fixture(autouse=True)
def shorter(monkeypatch):
    for name, value in {"_LOWEST": 1e-5, "_HIGHEST": 1e-1, "_STEPS": 24}.items():
        monkeypatch.setattr(lr_finder, name, value)


def tried(packed, folder, what):
    outputs = Outputs(folder / "lr.svg", folder / "lr.csv", folder / "lr.json")
    find(what, opened(packed), packed / "split.csv", packed / "statistics.json", outputs, "test data")
    return outputs


@pytest.mark.parametrize("accumulate", [1, 2])
def test_table_picture_and_suggestion_agree(packed, tmp_path, accumulate):
    what = plan(accumulate=accumulate)
    made = tried(packed, tmp_path, what)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lr.csv", "lr.json", "lr.svg"]
    table, said = pd.read_csv(made.table), json.loads(made.suggestion.read_text())
    assert list(table) == ["learning_rate", "loss", "smoothed"] and len(table) == said["steps"] == 24
    np.testing.assert_allclose(table["learning_rate"], np.geomspace(1e-5, 1e-1, 24), rtol=1e-5)
    assert (said["scenario"], said["recipe"]) == (what.scenario.id, 0.002)
    assert 1e-5 < said["suggestion"] < 1e-1 and table["smoothed"].min() < 0.9 * table["smoothed"][0]
    picture = made.picture.read_text()
    assert (
        f"{said['suggestion']:.1e} suggested" in picture and "recipe's: 2.0e-03" in picture and "test data" in picture
    )
    assert tried(packed, tmp_path / "again", what).table.read_bytes() == made.table.read_bytes()


def test_suggestion_is_where_the_loss_falls_fastest():
    rates = np.geomspace(1e-6, 1, 100)
    loss = 2 - np.tanh(2 * np.log10(rates / 1e-3)) + 10 * rates  # steepest at 1e-3
    assert suggestion(rates, loss) == pytest.approx(1e-3, rel=0.15)
    loss[85:88] -= 0.2  # a leap where it is at its lowest
    assert suggestion(rates, loss) == pytest.approx(1e-3, rel=0.15)
    with pytest.raises(DataError, match="the loss does not fall in the 100 steps of the range test"):
        suggestion(rates, np.arange(100.0))
    with pytest.raises(DataError, match="does not fall"):
        suggestion(rates[:0], loss[:0])
