"""Figures: written, deterministic, labelled with their data source, and showing the values they were given."""

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cerraseg.core.taxonomy import LEVELS
from cerraseg.evaluation import score_files
from cerraseg.evaluation.benchmark import PAPER_DATA, paper_column
from cerraseg.report import benchmark_chart, figures
from cerraseg.report.tables import by_scenario
from cerraseg.training.weightings import WEIGHTINGS

L1 = LEVELS["l1"]
LABELS = {"title": "the title", "source": "simulated landscape"}
REFERENCE = Path(__file__).parents[2] / "reference" / "confusion_matrices"


def history() -> pd.DataFrame:
    epochs = np.arange(1, 4)
    return pd.DataFrame(
        {
            "epoch": epochs,
            "train_loss": 1 / epochs,
            "val_loss": 1.2 / epochs,
            "val_macro_f1": epochs / 10,
            "val_miou": epochs / 12,
            "selected": epochs == 2,
        }
    )


def table(comparable: bool, seeds: tuple[int, ...] = (1,)) -> pd.DataFrame:
    rows = [
        {"model": "unet", "modality": modality, "weighting": "nw", "level": level, "recipe": "paper", "seed": seed}
        | {"comparable": comparable, "macro_f1": 41.25 + seed, paper_column("macro_f1"): 36.38}
        | {"macro_f1_low": 40.0 + seed, "macro_f1_high": 43.0 + seed}
        for level in ("l1", "l2")
        for modality in ("msi", "sar")
        for seed in seeds
    ]
    return pd.DataFrame(rows)


def published(name: str) -> np.ndarray:
    return score_files.read_confusion(REFERENCE / f"{name}.csv")


VECTOR: dict[str, Callable[[Path], None]] = {
    "curves": lambda path: figures.curves(history(), path, **LABELS),
    "confusion": lambda path: figures.confusion(published("unet_concat_w_l1"), L1, path, **LABELS),
    "benchmark_bars": lambda path: benchmark_chart.benchmark_bars(table(False, (1, 2)), path, **LABELS),
    "class_shares": lambda path: figures.class_shares({"train": [8, 1, 1, 0, 0, 0, 0]}, L1, path, **LABELS),
}


@pytest.mark.parametrize("name", VECTOR)
def test_vector_figures_are_labelled_and_deterministic(name, tmp_path):
    VECTOR[name](tmp_path / "a.svg")
    VECTOR[name](tmp_path / "b.svg")
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert ">the title<" in text and ">Data: simulated landscape<" in text
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.svg", "b.svg"]


def svg(draw: Callable[..., None], *data: object, path: Path, **options: object) -> str:
    draw(*data, path, **LABELS, **options)
    return path.read_text(encoding="utf-8")


def test_curves_name_the_selected_epoch(tmp_path):
    text = svg(figures.curves, history(), path=tmp_path / "a.svg")
    assert "selected: epoch 2" in text
    assert "macro F1" in text and "mIoU" in text


def test_confusion_shows_row_percentages_and_counts(tmp_path):
    matrix = np.diag([3, 1, 1, 0, 1, 1, 2_500_000])
    matrix[0, 1] = 1
    text = svg(figures.confusion, matrix, L1, path=tmp_path / "a.svg")
    assert ">75.0<" in text and ">25.0<" in text
    assert "Other uses  2.5M" in text
    assert text.count(">–<") == 7  # the row of the class without true pixels


def test_shares_are_per_split_and_show_empty_classes(tmp_path):
    counts = {"train": [50, 49, 1, 0, 0, 0, 0], "test": [0, 0, 0, 0, 0, 0, 7]}
    text = svg(figures.class_shares, counts, L1, path=tmp_path / "a.svg")
    assert ">49.0<" in text and ">100.0<" in text
    assert text.count(">0<") == 4 + 6
    assert ">train<" in text and ">test<" in text


def test_splits_are_told_apart_by_lightness_and_outline(tmp_path):
    counts = {split: [1] * 14 for split in ("train", "validation", "test")}
    text = svg(figures.class_shares, counts, LEVELS["l2"], path=tmp_path / "a.svg")
    assert figures._paler((206, 239, 98), 0.4) == "#ebf9c0"
    for fill in ("#ceef62", "#ebf9c0", "#ffffff"):  # Pasture in each split, from all of its colour to none
        assert f"fill: {fill}; stroke" in text
    assert text.count("stroke-dasharray") == 2 * (14 + 1)  # bars and legend of the second and the third
    assert len(text) < 200_000


def test_the_paper_is_outlined_only_beside_comparable_scores(tmp_path):
    beside = svg(benchmark_chart.benchmark_bars, table(True), path=tmp_path / "a.svg")
    assert f"paper ({PAPER_DATA})" in beside
    alone = svg(benchmark_chart.benchmark_bars, table(False), path=tmp_path / "b.svg")
    assert PAPER_DATA not in alone
    mixed = pd.concat([table(True), table(False).query("level == 'l2'")])
    assert PAPER_DATA not in svg(benchmark_chart.benchmark_bars, mixed, path=tmp_path / "c.svg")


def bars(data: pd.DataFrame) -> Axes:
    """The drawn axes of level l1."""
    axes = Figure().subplots()
    rows = by_scenario(data, "macro_f1")
    benchmark_chart._bars_of_level(axes, rows[rows["level"] == "l1"], ["msi", "sar"])
    return axes


def test_the_papers_bar_is_an_outline_around_the_runs():
    run, paper = bars(table(True)).patches[:2]
    assert run.get_height() == 42.25 and run.get_fill()
    assert paper.get_height() == 36.38 and not paper.get_fill()
    assert paper.get_x() < run.get_x() and paper.get_x() + paper.get_width() > run.get_x() + run.get_width()
    assert [bar.get_fill() for bar in bars(table(False)).patches] == [True, True]


@pytest.mark.parametrize(("seeds", "ends"), [((1,), (41, 44)), ((1, 3), (43.25 - 2**0.5, 43.25 + 2**0.5))])
def test_whiskers_are_the_interval_or_the_deviation_over_seeds(seeds, ends):
    for whisker in bars(table(False, seeds)).collections:
        assert whisker.get_segments()[0][:, 1] == pytest.approx(ends)


def test_the_axis_says_what_its_weightings_are():
    assert benchmark_chart._weightings(["nw", "nw"]) == "model, weighting (nw: none) and recipe"
    assert "(nw: none; focal: focal loss)" in benchmark_chart._weightings(["focal", "nw"])
    lines = benchmark_chart._weightings(WEIGHTINGS).splitlines()
    assert len(lines) > 1 and max(map(len, lines)) <= 120


def test_the_axis_says_what_the_whiskers_are(tmp_path):
    several = svg(benchmark_chart.benchmark_bars, table(False, (1, 2)), path=tmp_path / "a.svg")
    assert several.count(">42.75<") == 4
    assert "standard deviation over seeds" in several and "bootstrap" not in several
    alone = svg(benchmark_chart.benchmark_bars, table(False), path=tmp_path / "b.svg")
    assert "95 % bootstrap interval over patches" in alone and "deviation" not in alone
    mixed = pd.concat([table(False, (1, 2)), table(False).assign(recipe="released")])
    both = svg(benchmark_chart.benchmark_bars, mixed, path=tmp_path / "c.svg")
    assert "standard deviation over seeds; of one seed: 95 % bootstrap interval over patches" in both


def test_figures_do_not_follow_the_users_style(tmp_path):
    for name in ("plain", "styled"):
        figures.class_shares({"train": [1] * 7}, LEVELS["l1"], tmp_path / f"{name}.svg", title="Shares", source="test")
        mpl.rcParams.update({"font.size": 22, "axes.facecolor": "red", "svg.fonttype": "none"})
    mpl.rcdefaults()
    assert (tmp_path / "plain.svg").read_bytes() == (tmp_path / "styled.svg").read_bytes()
