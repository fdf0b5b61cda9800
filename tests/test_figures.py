"""Figures: written, deterministic, labelled with their data source, and showing the values they were given."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rasterio.transform import from_origin

from cerraseg import benchmark_chart, figures, map_figures, score_files
from cerraseg.benchmark import PAPER_DATA, paper_column
from cerraseg.errors import DataError
from cerraseg.tables import by_scenario
from cerraseg.taxonomy import LEVELS

L1 = LEVELS["l1"]
LABELS = {"title": "the title", "source": "simulated landscape"}
REFERENCE = Path(__file__).parents[1] / "reference" / "confusion_matrices"


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


def test_the_axis_says_what_the_whiskers_are(tmp_path):
    several = svg(benchmark_chart.benchmark_bars, table(False, (1, 2)), path=tmp_path / "a.svg")
    assert several.count(">42.75<") == 4
    assert "standard deviation over seeds" in several and "bootstrap" not in several
    alone = svg(benchmark_chart.benchmark_bars, table(False), path=tmp_path / "b.svg")
    assert "95 % bootstrap interval over patches" in alone and "deviation" not in alone
    mixed = pd.concat([table(False, (1, 2)), table(False).assign(recipe="released")])
    both = svg(benchmark_chart.benchmark_bars, mixed, path=tmp_path / "c.svg")
    assert "standard deviation over seeds; of one seed: 95 % bootstrap interval over patches" in both


def write_map(path: Path, mask: np.ndarray) -> Path:
    height, width = mask.shape
    georeference = {"crs": "EPSG:32721", "transform": from_origin(6e5, 8.5e6, 10, 10), "nodata": 255}
    with rasterio.open(path, "w", "GTiff", width, height, 1, dtype="uint8", **georeference) as file:
        file.write(mask, 1)
    return path


def test_map_is_read_decimated_and_drawn_beside_the_truth(tmp_path, monkeypatch):
    monkeypatch.setattr(map_figures, "LARGEST_SIDE", 40)
    mask = np.full((60, 80), 5, dtype=np.uint8)
    mask[:, 40:] = 255
    path = write_map(tmp_path / "map.tif", mask)
    image, extent, crs = map_figures._read_map(path, L1)
    assert image.shape == (30, 40, 3)
    assert image[0, 0].tolist() == list(L1[5].colour) and image[0, -1].tolist() == [255] * 3
    assert tuple(extent) == (6e5, 600800, 8499400, 8.5e6) and crs.to_epsg() == 32721
    for name in ("a.png", "b.png"):
        map_figures.map_panel(path, L1, tmp_path / name, truth=path, **LABELS)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    text = svg(map_figures.map_panel, path, L1, path=tmp_path / "a.svg")
    assert "easting (metre)" in text and "Water body" in text and ">truth<" not in text


def test_an_unreadable_map_is_named(tmp_path):
    with pytest.raises(DataError, match=r"missing\.tif cannot be read"):
        map_figures.map_panel(tmp_path / "missing.tif", L1, tmp_path / "a.png", **LABELS)
    assert not list(tmp_path.iterdir())
