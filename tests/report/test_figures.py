"""Figures: labelled with their data source, the same again, and showing the values that they were given."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from scenes import CERRADATA

from cerraseg.report import figures
from cerraseg.report.figures import hex_colour

L1 = CERRADATA.classes("l1")
LABELS = {"title": "the title", "source": "simulated landscape"}
EPOCHS = np.arange(1, 4)
HISTORY = pd.DataFrame(
    {
        "epoch": EPOCHS,
        "train_loss": 1 / EPOCHS,
        "val_loss": 1.2 / EPOCHS,
        "val_macro_f1": EPOCHS / 10,
        "val_miou": EPOCHS / 12,
        "selected": EPOCHS == 2,
    }
)
MATRIX = np.diag([3, 1, 1, 0, 1, 1, 2_500_000])
MATRIX[0, 1] = 1


COUNTS = {"train": [50, 49, 1, 0, 0, 0, 0], "test": [0, 0, 0, 0, 0, 0, 7]}


@pytest.mark.parametrize(
    ("draw", "data", "shown"),
    [
        (figures.curves, [HISTORY], {"selected: epoch 2": 2, "macro F1": 1, "mIoU": 1}),
        # Mining has no true pixels.
        (figures.confusion, [MATRIX, L1], {">75.0<": 1, ">25.0<": 1, ">–<": 7, "Other uses  2.5M": 1}),
        # Pasture has all of its colour in one part and less in the other, whose outlines are dashed.
        (
            figures.class_shares,
            [COUNTS, L1],
            {">49.0<": 1, ">100.0<": 1, ">0<": 4 + 6, ">train<": 1, ">test<": 1, "stroke-dasharray": 7 + 1}
            | {f"fill: {hex_colour(L1[0].colour, strength)}; stroke": 1 for strength in (1, 0.4)},
        ),
    ],
)
def test_figures_are_labelled_show_their_values_and_are_the_same_again(draw, data, shown, tmp_path):
    draw(*data, tmp_path / "a.svg", **LABELS)
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert {value: text.count(value) for value in shown} == shown
    assert ">the title<" in text and ">Data: simulated landscape<" in text
    mpl.rcParams.update({"font.size": 22, "axes.facecolor": "red", "svg.fonttype": "none"})  # a user's own style
    draw(*data, tmp_path / "b.svg", **LABELS)
    mpl.rcdefaults()
    assert (tmp_path / "b.svg").read_text(encoding="utf-8") == text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.svg", "b.svg"]
