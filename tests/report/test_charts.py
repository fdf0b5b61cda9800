"""Charts show the values that they were given, and the paper's beside comparable scores only."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure
from region import REGION
from scenes import CERRADATA

from cerraseg.evaluation.benchmark import PAPER_DATA, paper_column
from cerraseg.report import charts
from cerraseg.report.benchmark.tables import by_scenario

LABELS = {"title": "the title", "source": "simulated landscape"}


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


def svg(draw: Callable[..., None], data: Any, folder: Path, *further: Any) -> str:
    """The text of a labelled figure."""
    draw(data, folder / "a.svg", *further, **LABELS)
    text = (folder / "a.svg").read_text(encoding="utf-8")
    assert ">the title<" in text and ">Data: simulated landscape<" in text
    return text


@pytest.mark.parametrize(
    ("seeds", "value", "ends"), [((1,), 42.25, (41, 44)), ((1, 3), 43.25, (43.25 - 2**0.5, 43.25 + 2**0.5))]
)
def test_bars_have_whiskers_and_an_outline_of_the_paper(seeds, value, ends):
    for comparable in (True, False):
        axes, rows = Figure().subplots(), by_scenario(table(comparable, seeds), "macro_f1")
        charts._bars_of_level(axes, rows[rows["level"] == "l1"], {"msi": "#0072B2", "sar": "#E69F00"})
        filled = [(bar.get_height(), bar.get_fill()) for bar in axes.patches]
        assert filled == ([(value, True), (36.38, False)] if comparable else [(value, True)]) * 2
        for whisker in axes.collections:
            assert whisker.get_segments()[0][:, 1] == pytest.approx(ends)


@pytest.mark.parametrize(
    ("data", "paper", "deviation", "bootstrap"),
    [
        (table(True), True, False, True),
        (table(False), False, False, True),
        (pd.concat([table(True), table(False).query("level == 'l2'")]), False, True, True),
        (table(False, (1, 2)), False, True, False),
        (pd.concat([table(False, (1, 2)), table(False).assign(recipe="released")]), False, True, True),
    ],
)
def test_legend_and_axis_name_what_is_drawn(data, paper, deviation, bootstrap, tmp_path):
    text = svg(charts.benchmark_bars, data, tmp_path, CERRADATA)
    assert (f"paper ({PAPER_DATA})" in text, "standard deviation" in text) == (paper, deviation)
    assert ("bootstrap interval" in text) == bootstrap


@pytest.mark.parametrize(("models", "inches"), [(1, (5.6, 3.9)), (3, (8.0, 3.9)), (5, (6.8, 6.4))])
def test_few_bars_take_little_room(models, inches, tmp_path):
    """Levels stand side by side while there is room; each model takes 1.2 inches."""
    one = table(False).query("modality == 'msi'")
    data = pd.concat([one.assign(model=f"model{k}") for k in range(models)])
    text = svg(charts.benchmark_bars, data, tmp_path, CERRADATA)
    assert [float(side) / 72 for side in re.search('width="([0-9.]+)pt" height="([0-9.]+)pt"', text).groups()] == (
        pytest.approx(inches)
    )
    assert text.count("rotate(-90") == (2 if models == 5 else 1)  # only the label of the axis
    assert text.count(">MSI-NW-L1<") == models


def test_the_baseline_is_a_line_over_the_bars_of_its_bands(tmp_path):
    data = pd.concat([table(False), table(False).assign(model="pixel", recipe="baseline", macro_f1=30.0)])
    data[["baseline_difference", "baseline_difference_low"]] = [[11.25, 3.0]] * 3 + [[11.25, -1.0]] + [[None, None]] * 4
    axes, rows = Figure().subplots(), by_scenario(data, "macro_f1")
    charts._bars_of_level(axes, rows[rows["level"] == "l2"], {"msi": "#0072B2", "sar": "#E69F00"})
    segments = [part.get_segments()[0] for part in axes.collections]
    lines = [segment for segment in segments if (segment[:, 1] == 30).all()]
    assert [sorted(line[:, 0]) for line in lines] == [
        pytest.approx(ends) for ends in ((-0.4, 0), (0, 0.4), (0.6, 1), (1, 1.4))
    ]
    assert [text.get_text() for text in axes.texts] == ["42.25", "42.25†", "30.00", "30.00"]
    text = svg(charts.benchmark_bars, data, tmp_path, CERRADATA)
    assert "pixel-wise baseline" in text
    assert "pixel-wise" not in svg(charts.benchmark_bars, table(False), tmp_path, CERRADATA)


def test_the_papers_axes_have_its_notation(tmp_path):
    concat = table(False).query("modality == 'msi'").assign(modality="concat", weighting="w")
    text = svg(charts.benchmark_bars, pd.concat([table(False), concat]), tmp_path, CERRADATA)
    for name in ("MSI-NW-L1", "SAR-NW-L2", "Concat-W-L2"):
        assert f">{name}<" in text
    assert "-NW-" not in svg(charts.benchmark_bars, table(False), tmp_path, REGION)
    assert "-RARE-" not in svg(charts.benchmark_bars, table(False).assign(weighting="rare"), tmp_path, CERRADATA)


def distance_bin(start: float, end: float, value: float, patches: int, interval: Any = None) -> dict[str, Any]:
    ends = {"from": start, "to": end, "touches": end == 0, "patches": patches}
    return ends | {"accuracy": 0.5, "macro_f1_present": value, "interval": interval}


def test_scores_by_distance(tmp_path):
    bins = [
        distance_bin(0, 0, 0.7, 1300, [0.66, 0.75]),
        distance_bin(400, 900, 0.655, 100, [0.6, 0.7]),
        distance_bin(1300, 2560, 0.5, 1),
    ]
    text = svg(charts.scores_by_distance, {"touching": 0.925, "by_distance": bins}, tmp_path)
    for shown in ("touching", "patches: 1,300", "400–900 m", "1.3–2.56 km", "70.0", "65.5", "50.0", "92.5 % touch one"):
        assert shown in text
    alone = svg(charts.scores_by_distance, {"touching": 1.0, "by_distance": bins[:1]}, tmp_path)
    assert "All 1,300 test patches" in alone and "touching" in alone and "70.0 %" in alone
    assert "<path" not in alone.split("</defs>")[0] and "touch one" not in alone
    assert "No test patch" in svg(charts.scores_by_distance, {"touching": 0.0, "by_distance": []}, tmp_path)
    over = {"touching": 1.0, "by_distance": [bins[0] | {"overlaps": True}, bins[0]]}
    assert svg(charts.scores_by_distance, over, tmp_path).count("overlapping") == 1


def test_each_modality_has_a_colour_of_its_own():
    assert charts.modality_colours(CERRADATA, ["concat", "sar", "msi", "sar"]) == {
        "msi": "#0072B2",
        "sar": "#E69F00",
        "concat": "#009E73",
    }
    shown = ["msi+dem", "concat", "dem", "sar+dem", "msi", "sar"]
    colours = charts.modality_colours(REGION, shown)
    assert list(colours) == ["msi", "sar", "dem", "msi+dem", "sar+dem", "concat"]
    assert len(set(colours.values())) == len(shown)
