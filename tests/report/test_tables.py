"""The benchmark's files: what stands in them, what never stands together, and that LaTeX would take them."""

import re
from pathlib import Path

import pandas as pd
import pytest
from test_benchmark import IDS, PAPER_F1, PAPER_MIOU, PAPER_SCORES, collected, evaluated, in_patches, published

from cerraseg.evaluation import benchmark
from cerraseg.report.benchmark import tables

SIMULATED = "simulated landscape"
TWO_SEEDS = ["unet-msi-nw-l1-paper-1", "unet-msi-nw-l1-paper-2"]


def gathered(files: list[Path], *, comparable: bool = False) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    table = benchmark.collect(files, PAPER_SCORES, comparable=comparable)
    return table, benchmark.per_class(files), benchmark.pairs(files)


def markdown(folder: Path, files: list[Path], source: str = SIMULATED, *, comparable: bool = False) -> str:
    tables.write_markdown(*gathered(files, comparable=comparable), folder / "t.md", title="Benchmark", source=source)
    return (folder / "t.md").read_text(encoding="utf-8")


def latex(folder: Path, table: pd.DataFrame, source: str, title: str = "Benchmark") -> str:
    tables.write_latex(table, folder / "t.tex", title=title, source=source)
    return (folder / "t.tex").read_text(encoding="utf-8")


def rows_of(text: str) -> list[list[str]]:
    """The cells of a LaTeX table's rows, the heading first."""
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)&", line.removesuffix(r" \\"))]
        for line in text.splitlines()
        if line.endswith(r"\\")
    ]


def section(text: str, heading: str) -> str:
    return text.split(f"## {heading}")[1].split("\n## ")[0]


def test_csv_is_read_back_as_it_was(tmp_path):
    table = collected(tmp_path, "CerraData-4MM", True)
    tables.write_csv(table, tmp_path / "t.csv")
    read = pd.read_csv(tmp_path / "t.csv")
    assert list(read.columns) == list(table.columns)
    assert read["macro_f1"].tolist() == table["macro_f1"].tolist()
    assert read["epochs"].isna().all() and read["comparable"].all()
    tables.write_csv(table.assign(comparable=False), tmp_path / "t.csv")  # nothing of the paper's beside other data
    assert list(pd.read_csv(tmp_path / "t.csv").columns) == list(table.columns)[:-4]


def test_a_lone_scenario_has_no_pairs(tmp_path):
    files = [evaluated(tmp_path, IDS[0], SIMULATED)]
    tables.write_csv(gathered(files)[2], tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == "first,second,level,source,difference,low,high,p,p_holm,draws\n"
    assert "best scenario" not in markdown(tmp_path, files)


def test_markdown_keeps_the_paper_apart_when_not_comparable(tmp_path):
    text = markdown(tmp_path, [evaluated(tmp_path, name, SIMULATED) for name in IDS])
    run, apart = text.split("## Published scores on CerraData-4MM")
    assert run.startswith("# Benchmark\n\nData: simulated landscape, 3,028 test patches.")
    assert "Paper" not in run and "CerraData" not in run
    assert all(SIMULATED in line for line in run.splitlines() if line.startswith("## ")) and SIMULATED in apart
    assert "| unet | concat | w | l1 | 45.24 | 34.83 |" in apart
    assert apart.count("| unet |") == 3


def test_markdown_compares_on_the_same_data(tmp_path):
    files = [evaluated(tmp_path, name, "CerraData-4MM") for name in IDS]
    text = markdown(tmp_path, files, "CerraData-4MM", comparable=True)
    assert "Paper's Macro F1 | Paper's mIoU | Δ Macro F1 | Δ mIoU |" in text
    assert "not comparable" not in text
    line = next(line for line in text.splitlines() if line.startswith("| unet-msi-nw-l1-paper-1 "))
    assert "| 36.38 | 31.74 | +8.8" in line
    row = gathered(files)[0].iloc[0]
    assert row["macro_f1_low"] < row["macro_f1"] < row["macro_f1_high"]
    assert f"| {row['macro_f1']:.2f} [{row['macro_f1_low']:.1f}, {row['macro_f1_high']:.1f}] |" in line
    assert markdown(tmp_path, files, "CerraData-4MM", comparable=True) == text


def test_a_scenario_that_the_paper_lacks_has_dashes(tmp_path):
    table = collected(tmp_path, "CerraData-4MM", True)
    table[[PAPER_F1, PAPER_MIOU, "macro_f1_difference", "miou_difference"]] = float("nan")
    classes, pairs = (gather([tmp_path / IDS[0] / "metrics.json"]) for gather in (benchmark.per_class, benchmark.pairs))
    tables.write_markdown(table, classes, pairs, tmp_path / "t.md", title="T", source="CerraData-4MM")
    assert (tmp_path / "t.md").read_text(encoding="utf-8").count("| – | – | – | – |") == 5
    assert all(row[-2:] == ["--", "--"] for row in rows_of(latex(tmp_path, table, "CerraData-4MM"))[1:])


def test_seeds_are_averaged_with_their_spread(tmp_path):
    matrix = published("unet_concat_w_l1")
    counts = [in_patches(matrix), in_patches(matrix + 10**6)]
    files = [evaluated(tmp_path, name, SIMULATED, each) for name, each in zip(TWO_SEEDS, counts, strict=True)]
    table = gathered(files)[0]
    text = markdown(tmp_path, files)
    expected = f"{table['macro_f1'].mean():.2f} ± {table['macro_f1'].std():.2f}"
    assert expected in section(text, "Mean ± standard deviation over seeds (simulated landscape)")
    classes = section(text, "F1 by class, L1")
    assert classes.count("| unet-msi-nw-l1-paper |") == 1 and "Means over seeds." in classes
    (row,) = rows_of(latex(tmp_path, table, SIMULATED))[1:]
    assert row[5] == expected.replace("±", r"$\pm$")


def test_further_scores_have_their_sections(tmp_path):
    edges = {str(pixels): {"f1": 0.1 + pixels / 10} for pixels in range(3)}
    files = [evaluated(tmp_path, IDS[0], SIMULATED, edges=edges), evaluated(tmp_path, IDS[1], SIMULATED)]
    text = markdown(tmp_path, files)
    row = gathered(files)[0].set_index("id").loc[IDS[0]]
    rolled = section(text, "L2 scored as L1")
    assert f"| {row['macro_f1_as_l1']:.2f} | {row['miou_as_l1']:.2f} |" in rolled and "concat" not in rolled
    assert "| l2 | unet | sar | nw | paper | 10.00 | 20.00 | 30.00 |" in section(text, "Edges")
    assert "concat" not in section(text, "Edges")
    alone = markdown(tmp_path, files[1:])
    assert "## Edges" not in alone and "as L1" not in alone


def test_classes_have_a_table_a_level(tmp_path):
    text = markdown(tmp_path, [evaluated(tmp_path, name, SIMULATED) for name in IDS])
    first, second = section(text, "F1 by class, L1"), section(text, "F1 by class, L2")
    assert "| Scenario | Pa | Fo | Ag | Mg | Bu | Wt | OU |" in first
    assert "OU: Other uses" in first and "Df: Deforestation 2022" in second
    assert first.count("\n| unet-") == 3 and second.count("\n| unet-") == 1
    matrix = published("unet_concat_w_l1")
    water = 200 * matrix[5, 5] / (matrix[5].sum() + matrix[:, 5].sum())
    assert f"| {water:.2f} | 0.00 |" in first


def test_the_best_of_each_level_stands_against_the_others(tmp_path):
    names = [f"{model}-concat-w-{level}-paper-1" for model in ("unet", "transnuseg") for level in ("l1", "l2")]
    counts = [in_patches(published(name.removesuffix("-paper-1").replace("-", "_"))) for name in names]
    names.append("unet-sar-w-l1-paper-1")
    counts.append(counts[0])
    files = [evaluated(tmp_path, name, SIMULATED, each) for name, each in zip(names, counts, strict=True)]
    pairs = gathered(files)[2]
    text = section(markdown(tmp_path, files), "The best scenario against the others")
    shown = [
        tuple(line[2:].split(" | ")[:3]) for line in text.splitlines() if line.startswith(("| l1", "| l2", "| as"))
    ]
    best, second = "transnuseg-concat-w-l1-paper-1", "transnuseg-concat-w-l2-paper-1"
    assert {row for row in shown if row[0] != "as_l1"} == {
        ("l1", best, names[0]),
        ("l1", best, names[4]),
        ("l2", second, names[1]),
    }
    assert {row[1:] for row in shown if row[0] == "as_l1"} == {(best, names[1]), (best, second)}
    assert len(pairs) == 4 + 6
    worst = pairs.query("first == @best and second == @names[0]").iloc[0]
    assert f"{worst['difference']:.2f} [{worst['low']:.1f}, {worst['high']:.1f}] | 0.002 |" in text


def test_latex_is_a_balanced_table(tmp_path):
    text = latex(tmp_path, collected(tmp_path, SIMULATED, False), SIMULATED)
    assert re.findall(r"\\(?:begin|end){(\w+)}", text) == ["table", "tabular", "tabular", "table"]
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    assert re.search(r"\\caption{Benchmark\. Data: simulated landscape, 3,028 test patches\.", text)
    assert re.findall(r"\\(\w+rule)\b", text) == ["toprule", "midrule", "midrule", "bottomrule"]
    assert "{tabular}{lllllrr}" in text and [len(row) for row in rows_of(text)] == [7] * 5
    assert "Paper" not in text and "CerraData" not in text and "36.38" not in text


def test_latex_shows_the_paper_beside_comparable_runs(tmp_path):
    beside = rows_of(latex(tmp_path, collected(tmp_path, "CerraData-4MM", True), "CerraData-4MM"))
    assert beside[0][-2:] == ["Paper's Macro F1", "Paper's mIoU"]
    assert beside[1][:5] == ["l1", "unet", "msi", "nw", "paper"] and beside[1][-2:] == ["36.38", "31.74"]
    assert re.fullmatch(r"45\.2\d \[\d\d\.\d, \d\d\.\d\]", beside[1][5])


@pytest.mark.parametrize("recipe", ["my_recipe", "50%", "a&b", r"c\d", "x^2~{y}#$"])
def test_latex_escapes_what_users_write(tmp_path, recipe):
    table = collected(tmp_path, SIMULATED, False).assign(recipe=recipe)
    text = latex(tmp_path, table, recipe, title=recipe)
    known = r"\\(?:[&%$#_{}\\]|text(?:backslash|asciicircum|asciitilde)\{\}|pm)"
    bare = re.sub(known, "", "".join(rows_of(text)[1]) + re.search(r"\\caption{(.*)}$", text, re.M)[1])
    assert not re.search(r"[&%#_^~\\{}]", bare)
    assert [len(row) for row in rows_of(text)] == [7] * len(rows_of(text))


def test_scenarios_of_several_seeds_have_their_deviation_for_an_interval(tmp_path):
    table = collected(tmp_path, "CerraData-4MM", True)
    table["macro_f1"] = [10.0, 40.0, 43.0, 50.0, 20.0]
    rows = tables.by_scenario(table, "macro_f1")
    assert rows["seeds"].tolist() == [1, 2, 1, 1]
    assert rows["value"].tolist() == [10, 41.5, 50, 20]
    assert rows["paper"].tolist() == [36.38, 45.24, 45.24, 10.45]
    assert rows["low"][1] == pytest.approx(41.5 - 4.5**0.5) and rows["high"][1] == pytest.approx(41.5 + 4.5**0.5)
    assert rows["low"][0] == table["macro_f1_low"][0] and rows["high"][0] == table["macro_f1_high"][0]
    assert tables.by_scenario(table, "kappa")["low"].isna().tolist() == [True, False, True, True]
    assert tables.by_scenario(table.assign(comparable=False), "macro_f1")["paper"].isna().all()
