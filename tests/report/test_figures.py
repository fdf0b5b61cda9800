"""Figures: labelled with their data source, the same again, and showing the values that they were given."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from cerraseg.core.taxonomy import LEVELS
from cerraseg.report import figures

L1 = LEVELS["l1"]
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


def svg(draw: Callable[..., None], *data: Any, path: Path) -> str:
    draw(*data, path, **LABELS)
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("draw", "data", "shown"),
    [
        (figures.curves, [HISTORY], ["selected: epoch 2", "macro F1", "mIoU"]),
        (figures.confusion, [MATRIX, L1], [">75.0<", ">25.0<", "Other uses  2.5M"]),
        (
            figures.class_shares,
            [{"train": [50, 49, 1, 0, 0, 0, 0], "test": [0, 0, 0, 0, 0, 0, 7]}, L1],
            [">49.0<", ">100.0<", ">train<", ">test<"],
        ),
    ],
)
def test_figures_are_labelled_show_their_values_and_are_the_same_again(draw, data, shown, tmp_path):
    text = svg(draw, *data, path=tmp_path / "a.svg")
    assert all(value in text for value in shown)
    assert ">the title<" in text and ">Data: simulated landscape<" in text
    mpl.rcParams.update({"font.size": 22, "axes.facecolor": "red", "svg.fonttype": "none"})  # a user's own style
    assert svg(draw, *data, path=tmp_path / "b.svg") == text
    mpl.rcdefaults()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.svg", "b.svg"]


def test_classes_without_pixels(tmp_path):
    assert svg(figures.confusion, MATRIX, L1, path=tmp_path / "a.svg").count(">–<") == 7  # a row without true pixels
    counts = {"train": [50, 49, 1, 0, 0, 0, 0], "test": [0, 0, 0, 0, 0, 0, 7]}
    assert svg(figures.class_shares, counts, L1, path=tmp_path / "b.svg").count(">0<") == 4 + 6


def test_splits_are_told_apart_by_lightness_and_outline(tmp_path):
    counts = {split: [1] * 14 for split in ("train", "validation", "test")}
    text = svg(figures.class_shares, counts, LEVELS["l2"], path=tmp_path / "a.svg")
    for fill in ("#ceef62", "#ebf9c0", "#ffffff"):  # Pasture in each split, from all of its colour to none
        assert f"fill: {fill}; stroke" in text
    assert text.count("stroke-dasharray") == 2 * (14 + 1)  # bars and legend of the second and the third
