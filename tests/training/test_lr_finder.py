"""The range test trains what the training would, writes nothing else, and suggests where the loss falls most."""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import opened
from test_train import plan

from cerraseg.core.errors import DataError
from cerraseg.training import lr_finder
from cerraseg.training.lr_finder import find_learning_rate


@pytest.mark.parametrize(("accumulate", "ema"), [(1, 0.0), (2, 0.9)])
def test_table_and_suggestion_agree(packed, tmp_path, monkeypatch, accumulate, ema):
    monkeypatch.setattr(lr_finder, "_STEPS", 30)
    what = plan(recipe={"ema": ema}, accumulate=accumulate)
    made, again = ((tmp_path / f"{name}.csv", tmp_path / f"{name}.json") for name in ("one", "two"))
    for files in (made, again):
        find_learning_rate(what, opened(packed), packed / "split.csv", packed / "statistics.json", *files)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.csv", "one.json", "two.csv", "two.json"]
    table, facts = pd.read_csv(made[0]), json.loads(made[1].read_text())
    assert list(table) == ["learning_rate", "loss"] and 10 < len(table) == facts["steps"]
    assert (facts["scenario"], facts["recipe"]) == (what.scenario.id, 0.002)
    assert table["learning_rate"].is_monotonic_increasing and table["learning_rate"][0] >= 1e-6
    assert np.isclose(table["learning_rate"], facts["suggestion"], rtol=1e-5).sum() == 1
    assert 1 < table["loss"][5] < 4
    assert again[0].read_bytes() == made[0].read_bytes()


def test_suggestion_is_where_the_loss_falls_most():
    rates = np.geomspace(1e-6, 1, 100)
    loss = 2 - np.tanh(2 * np.log10(rates / 1e-3)) + 10 * rates  # steepest at 1e-3
    assert lr_finder._steepest_rate(rates, loss) == pytest.approx(1e-3, rel=0.15)
    loss[:5], loss[90:] = 9, np.nan  # a first running mean that falls at once, and a loss that is lost
    assert lr_finder._steepest_rate(rates, loss) == pytest.approx(1e-3, rel=0.15)
    for hopeless in (np.arange(100.0), np.full(100, np.nan)):
        with pytest.raises(DataError, match="does not fall"):
            lr_finder._steepest_rate(rates, hopeless)
