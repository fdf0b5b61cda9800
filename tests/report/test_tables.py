"""The benchmark's files: what stands in them, what never stands together, and that LaTeX would take them."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from region import REGION
from scenes import CERRADATA
from test_benchmark import (
    IDS,
    PAPER_F1,
    PAPER_MIOU,
    PAPER_SCORES,
    PATCHES,
    collected,
    evaluated,
    in_patches,
    of_region,
    published,
)

from cerraseg.config.dataset import Dataset
from cerraseg.evaluation import benchmark, bootstrap
from cerraseg.report.benchmark import tables

SIMULATED = "simulated landscape"
U_NET = published("unet_concat_w_l1")
BETTER = np.diag(U_NET.sum(axis=1))
ABOVE = ["baseline_difference", "baseline_difference_low", "baseline_difference_high"]


def gathered(
    files: list[Path], dataset: Dataset = CERRADATA, *, comparable: bool = False
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    table = benchmark.collect(files, PAPER_SCORES, dataset, comparable=comparable)
    return table, benchmark.per_class(files, dataset), benchmark.pairs(files, dataset)


def markdown(
    folder: Path, files: list[Path], source: str = SIMULATED, dataset: Dataset = CERRADATA, *, comparable: bool = False
) -> str:
    found = gathered(files, dataset, comparable=comparable)
    tables.write_markdown(*found, folder / "t.md", dataset, title="Benchmark", source=source)
    return (folder / "t.md").read_text(encoding="utf-8")


def latex(folder: Path, table: pd.DataFrame, source: str = SIMULATED, title: str = "Benchmark") -> str:
    tables.write_latex(table, folder / "t.tex", title=title, source=source)
    return (folder / "t.tex").read_text(encoding="utf-8")


def rows_of(text: str) -> list[list[str]]:
    """The cells of a LaTeX table's rows, the heading first."""
    rows = re.findall(r"^(.*) \\\\$", text, re.MULTILINE)
    return [[cell.strip() for cell in re.split(r"(?<!\\)&", row)] for row in rows]


def section(text: str, heading: str) -> str:
    return text.split(f"## {heading}")[1].split("\n## ")[0]


def test_csv_is_read_back_as_it_was(tmp_path):
    table = collected(tmp_path, "CerraData-4MM", True)
    for comparable, columns in ((True, table.columns), (False, table.columns[:-4])):  # without the paper's columns
        tables.write_csv(table.assign(comparable=comparable), tmp_path / "t.csv")
        read = pd.read_csv(tmp_path / "t.csv")
        assert list(read) == list(columns) and read["macro_f1"].equals(table["macro_f1"])


def test_scenarios_that_do_not_beat_the_baseline_are_marked(tmp_path):
    """The baseline first; without one, a sentence says so."""
    of = {"pixel-msi-w-l1-baseline-1": U_NET, "unet-msi-w-l1-paper-1": U_NET, "transnuseg-msi-w-l1-paper-1": BETTER}
    files = [evaluated(tmp_path, name, SIMULATED, in_patches(matrix)) for name, matrix in of.items()]
    text, (table, *_) = markdown(tmp_path, files), gathered(files)
    shown = ["–", "0.00 [0.0, 0.0] †", "{:.2f} [{:.1f}, {:.1f}]".format(*table.iloc[2][ABOVE])]
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ") and len(line.split(" | ")) == 9]
    assert [(row[0], row[7]) for row in rows[2:5]] == [
        (f"| {name}", cell) for name, cell in zip(of, shown, strict=True)
    ]
    assert "†, 1 of 2: it does not lie above 0." in text and bootstrap.note("patches", PATCHES) in text
    assert [row[-1] for row in rows_of(latex(tmp_path, table))] == [
        "Above baseline", "--", r"0.00 [0.0, 0.0] \dag{}", "{:.2f} [{:.1f}, {:.1f}]".format(*table.iloc[2][ABOVE])
    ]  # fmt: skip
    rows = tables.by_scenario(table, "macro_f1")
    assert rows["mark"].tolist() == ["", "†", ""] and rows["baseline"].nunique() == 1
    assert rows["baseline"][0] == rows["value"][0] == table["macro_f1"][0]
    alone = markdown(tmp_path, files[1:])
    assert "Above baseline" not in alone and "No pixel-wise baseline was run" in alone
    assert [row[-1] for row in rows_of(latex(tmp_path, gathered(files[:1])[0]))] == ["Above baseline", "--"]


def test_a_lone_scenario_has_no_pairs(tmp_path):
    files = [evaluated(tmp_path, IDS[0], SIMULATED)]
    tables.write_csv(gathered(files)[2], tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == "first,second,level,source,difference,low,high,p,p_holm,draws\n"
    assert "best scenario" not in markdown(tmp_path, files)


def test_markdown_keeps_the_paper_apart_when_not_comparable_and_has_a_table_of_classes_a_level(tmp_path):
    text = markdown(tmp_path, [evaluated(tmp_path, name, SIMULATED) for name in IDS])
    run, apart = text.split("## Published scores on CerraData-4MM")
    assert run.startswith("# Benchmark\n\nData: simulated landscape, 3,028 test patches.")
    assert "Paper" not in run and "CerraData" not in run
    assert all(SIMULATED in line for line in run.splitlines() if line.startswith("## ")) and SIMULATED in apart
    assert "| unet | concat | w | l1 | 45.24 | 34.83 |" in apart
    assert apart.count("| unet |") == 3
    first, second = section(run, "F1 by class, L1"), section(run, "F1 by class, L2")
    assert "| Scenario | Pa | Fo | Ag | Mg | Bu | Wt | OU |" in first
    assert "OU: Other uses" in first and "Df: Deforestation 2022" in second
    assert first.count("\n| unet-") == 3 and second.count("\n| unet-") == 1
    assert f"| {200 * U_NET[5, 5] / (U_NET[5].sum() + U_NET[:, 5].sum()):.2f} | 0.00 |" in first


def test_markdown_compares_on_the_same_data(tmp_path):
    files = [evaluated(tmp_path, name, "CerraData-4MM") for name in IDS]
    text = markdown(tmp_path, files, "CerraData-4MM", comparable=True)
    assert "Paper's Macro F1 | Paper's mIoU | Δ Macro F1 | Δ mIoU |" in text
    assert "not comparable" not in text
    line = next(line for line in text.splitlines() if line.startswith("| unet-msi-nw-l1-paper-1 "))
    assert "| 36.38 | 31.74 | +8.8" in line
    row = gathered(files)[0].iloc[0]
    assert f"| {row['macro_f1']:.2f} [{row['macro_f1_low']:.1f}, {row['macro_f1_high']:.1f}] |" in line


def test_a_scenario_that_the_paper_lacks_has_dashes(tmp_path):
    table = collected(tmp_path, "CerraData-4MM", True)
    table[[PAPER_F1, PAPER_MIOU, "macro_f1_difference", "miou_difference"]] = float("nan")
    _, *others = gathered([tmp_path / IDS[0] / "metrics.json"])
    tables.write_markdown(table, *others, tmp_path / "t.md", CERRADATA, title="T", source="CerraData-4MM")
    assert (tmp_path / "t.md").read_text(encoding="utf-8").count("| – | – | – | – |") == 5
    assert all(row[-2:] == ["--", "--"] for row in rows_of(latex(tmp_path, table))[1:])


def test_seeds_are_averaged_with_their_spread(tmp_path):
    files = [
        evaluated(tmp_path, f"unet-msi-nw-l1-paper-{seed}", SIMULATED, in_patches(U_NET + 10**6 * (seed - 1)))
        for seed in (1, 2)
    ]
    table = gathered(files)[0]
    text = markdown(tmp_path, files)
    expected = f"{table['macro_f1'].mean():.2f} ± {table['macro_f1'].std():.2f}"
    assert expected in section(text, "Mean ± standard deviation over seeds (simulated landscape)")
    classes = section(text, "F1 by class, L1")
    assert classes.count("| unet-msi-nw-l1-paper |") == 1 and "Means over seeds." in classes
    (row,) = rows_of(latex(tmp_path, table))[1:]
    assert row[5] == expected.replace("±", r"$\pm$")


def test_further_scores_have_their_sections(tmp_path):
    edges = {str(pixels): {"f1": 0.1 + pixels / 10} for pixels in range(3)}
    files = [evaluated(tmp_path, IDS[0], SIMULATED, edges=edges), evaluated(tmp_path, IDS[1], SIMULATED)]
    text = markdown(tmp_path, files)
    row = gathered(files)[0].set_index("id").loc[IDS[0]]
    rolled, found = section(text, "L2 scored as L1"), section(text, "Edges")
    assert f"| {row['macro_f1_as_l1']:.2f} | {row['miou_as_l1']:.2f} |" in rolled
    assert "| l2 | unet | sar | nw | paper | 10.00 | 20.00 | 30.00 |" in found
    assert "concat" not in rolled + found
    alone = markdown(tmp_path, files[1:])
    assert "## Edges" not in alone and "as L1" not in alone


def test_the_best_of_each_level_stands_against_the_others(tmp_path):
    matrices = {
        f"{model}-concat-w-{level}-paper-1": published(f"{model}_concat_w_{level}")
        for level in ("l1", "l2")
        for model in ("transnuseg", "unet")
    } | {"unet-sar-w-l1-paper-1": U_NET}
    files = [evaluated(tmp_path, name, SIMULATED, in_patches(matrix)) for name, matrix in matrices.items()]
    best, other, best_of_l2, other_of_l2, sar = matrices
    pairs = gathered(files)[2]
    text = section(markdown(tmp_path, files), "The best scenario against the others")
    shown = re.findall(r"^\| (l1|l2|as_l1) \| (\S+) \| (\S+) \|", text, re.MULTILINE)
    assert len(pairs) == 4 + 6 and set(shown) == {
        ("l1", best, other),
        ("l1", best, sar),
        ("l2", best_of_l2, other_of_l2),
        ("as_l1", best, best_of_l2),
        ("as_l1", best, other_of_l2),
    }
    worst = pairs.query("first == @best and second == @other").iloc[0]
    assert f"{worst['difference']:.2f} [{worst['low']:.1f}, {worst['high']:.1f}] | 0.002 |" in text


def test_latex_is_a_table_with_the_paper_beside_comparable_runs_only(tmp_path):
    text = latex(tmp_path, collected(tmp_path, SIMULATED, False))
    assert re.findall(r"\\(?:begin|end){(\w+)}", text) == ["table", "tabular", "tabular", "table"]
    assert re.search(r"\\caption{Benchmark\. Data: simulated landscape, 3,028 test patches\.", text)
    assert "{tabular}{lllllrr}" in text and [len(row) for row in rows_of(text)] == [7] * 5
    assert "Paper" not in text and "CerraData" not in text and "36.38" not in text
    heading, first, *_ = rows_of(latex(tmp_path, collected(tmp_path, "CerraData-4MM", True)))
    assert heading[-2:] == ["Paper's Macro F1", "Paper's mIoU"]
    assert first[:5] == ["l1", "unet", "msi", "nw", "paper"] and first[-2:] == ["36.38", "31.74"]
    assert re.fullmatch(r"45\.2\d \[\d\d\.\d, \d\d\.\d\]", first[5])


@pytest.mark.parametrize("recipe", ["my_recipe", "50%", "a&b", r"c\d", "x^2~{y}#$"])
def test_latex_escapes_what_users_write(tmp_path, recipe):
    table = collected(tmp_path, SIMULATED, False).assign(recipe=recipe)
    text = latex(tmp_path, table, recipe, title=recipe)
    known = r"\\(?:[&%$#_{}\\]|text(?:backslash|asciicircum|asciitilde)\{\}|pm)"
    bare = re.sub(known, "", "".join(rows_of(text)[1]) + re.search(r"\\caption{(.*)}$", text, re.M)[1])
    assert not re.search(r"[&%#_^~\\{}]", bare)
    assert {len(row) for row in rows_of(text)} == {7}


def test_scenarios_of_several_seeds_have_their_deviation_for_an_interval(tmp_path):
    table = collected(tmp_path, "CerraData-4MM", True)
    table["macro_f1"] = [10.0, 40.0, 43.0, 50.0, 20.0]
    rows = tables.by_scenario(table, "macro_f1")
    assert rows["seeds"].tolist() == [1, 2, 1, 1]
    assert rows["value"].tolist() == [10, 41.5, 50, 20]
    assert rows["paper"].tolist() == [36.38, 45.24, 45.24, 10.45]
    assert (rows["low"][1], rows["high"][1]) == pytest.approx((41.5 - 4.5**0.5, 41.5 + 4.5**0.5))
    assert (rows["low"][0], rows["high"][0]) == (table["macro_f1_low"][0], table["macro_f1_high"][0])
    assert tables.by_scenario(table, "kappa")["low"].isna().tolist() == [True, False, True, True]
    assert tables.by_scenario(table.assign(comparable=False), "macro_f1")["paper"].isna().all()


def test_three_linked_levels_have_a_section_for_each_pair(tmp_path):
    files = of_region(tmp_path)
    text = markdown(tmp_path, list(files.values()), dataset=REGION)
    headings = re.findall(r"^## (L\d scored as L\d) ", text, re.MULTILINE)
    assert headings == ["L2 scored as L1", "L3 scored as L1", "L3 scored as L2"]
    assert "Truth and prediction of L3, each class counted as the L2 class that holds it." in text
    row = gathered(list(files.values()), REGION)[0].set_index("level").loc["l3"]
    for coarser in ("L1", "L2"):
        shown = section(text, f"L3 scored as {coarser}")
        scores = [f"{row[f'{score}_as_{coarser.lower()}']:.2f}" for score in ("macro_f1", "miou")]
        assert f"| l3 | unet | dem | nw | paper | {row['macro_f1']:.2f} [" in shown
        assert f"] | {scores[0]} | {scores[1]} |" in shown
    assert "as_l1: L2 and L3 scored as L1, against L1. as_l2: L3 scored as L2, against L2. Seeds" in text
    assert "Published scores" not in text
