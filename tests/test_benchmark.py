"""The benchmark table: order, values, and the paper's scores beside comparable runs only."""

import json
from pathlib import Path

import pandas as pd
import pytest

from cerraseg import benchmark, metrics
from cerraseg.errors import DataError
from cerraseg.scenario import parse
from cerraseg.taxonomy import LEVELS

REFERENCE = Path(__file__).parents[1] / "reference"
PAPER_SCORES = REFERENCE / "paper_scores.csv"
IDS = [
    "unet-sar-nw-l2-paper-1",
    "unet-concat-w-l1-tuned-1",
    "unet-concat-w-l1-paper-10",
    "unet-concat-w-l1-paper-9",
    "unet-msi-nw-l1-paper-1",
]
PAPER_F1, PAPER_MIOU = "paper_macro_f1 (CerraData-4MM)", "paper_miou (CerraData-4MM)"


def evaluated(folder: Path, name: str, source: str, **info: object) -> Path:
    """Metrics of scenario ``name`` as if it had given the published predictions of U-Net, concat, weighted."""
    scenario = parse(name)
    matrix = metrics.read_confusion(REFERENCE / "confusion_matrices" / f"unet_concat_w_{scenario.level}.csv")
    fields = {"scenario": {"id": name, **vars(scenario)}, "source": source, "patches": 3028}
    metrics.write(folder / name, matrix, LEVELS[scenario.level], {**fields, **info})
    return folder / name / "metrics.json"


def collected(folder: Path, source: str, comparable: bool, **info: object) -> pd.DataFrame:
    files = [evaluated(folder, name, source, **info) for name in IDS]
    return benchmark.collect(files, PAPER_SCORES, comparable=comparable)


def test_rows_are_sorted_and_hold_percentages(tmp_path):
    table = collected(tmp_path, "simulated landscape", False, training={"epochs": 7})
    assert list(table["id"]) == [
        "unet-msi-nw-l1-paper-1",
        "unet-concat-w-l1-paper-9",
        "unet-concat-w-l1-paper-10",
        "unet-concat-w-l1-tuned-1",
        "unet-sar-nw-l2-paper-1",
    ]
    row = table.iloc[1]
    assert row["macro_f1"] == pytest.approx(45.24, abs=0.02)
    assert row["miou"] == pytest.approx(34.83, abs=0.02)
    assert row["macro_f1"] == round(row["macro_f1"], 2)
    assert (row["modality"], row["seed"], row["patches"], row["epochs"]) == ("concat", 9, 3028, 7)


def test_comparable_runs_stand_beside_the_paper(tmp_path):
    table = collected(tmp_path, "CerraData-4MM", True)
    assert table["comparable"].all()
    assert list(table[PAPER_F1]) == [36.38, 45.24, 45.24, 45.24, 10.45]
    assert table[benchmark.difference_column("macro_f1")].iloc[1] == pytest.approx(0, abs=0.02)
    difference = table["miou"].iloc[0] - 31.74
    assert table[benchmark.difference_column("miou")].iloc[0] == pytest.approx(difference, abs=0.005)


def test_other_data_never_gets_a_difference(tmp_path):
    table = collected(tmp_path, "simulated landscape", False)
    assert not table["comparable"].any()
    assert list(table[PAPER_MIOU]) == [31.74, 34.83, 34.83, 34.83, 8.26]
    assert table[["macro_f1_difference", "miou_difference"]].isna().all(axis=None)
    benchmark.write_csv(table, tmp_path / "table.csv")
    read = pd.read_csv(tmp_path / "table.csv")
    assert list(read.columns) == list(table.columns)
    assert read["epochs"].isna().all()
    assert not read["comparable"].any()


def test_markdown_keeps_the_paper_apart_when_not_comparable(tmp_path):
    table = collected(tmp_path, "simulated landscape", False)
    benchmark.write_markdown(table, tmp_path / "table.md", title="Benchmark", source="simulated landscape")
    run, published = (tmp_path / "table.md").read_text(encoding="utf-8").split("## Published scores on CerraData-4MM")
    assert run.startswith("# Benchmark\n\nData: simulated landscape.")
    assert "Paper" not in run
    assert "45.24" in published and "not comparable" in published and "simulated landscape" in published
    assert "| unet | concat | w | l1 | 45.24 | 34.83 |" in published
    assert published.count("| unet |") == 3


def test_markdown_compares_on_the_same_data(tmp_path):
    table = collected(tmp_path, "CerraData-4MM", True)
    benchmark.write_markdown(table, tmp_path / "table.md", title="Benchmark", source="CerraData-4MM")
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "Paper's Macro F1 | Paper's mIoU | Δ Macro F1 | Δ mIoU |" in text
    assert "not comparable" not in text
    row = next(line for line in text.splitlines() if line.startswith("| unet-msi-nw-l1-paper-1 "))
    assert "| 36.38 | 31.74 | +8.8" in row


def test_a_scenario_that_the_paper_lacks_has_an_empty_paper_value(tmp_path):
    scores = pd.read_csv(PAPER_SCORES)
    scores[scores["model"] == "transnuseg"].to_csv(tmp_path / "scores.csv", index=False)
    file = evaluated(tmp_path, IDS[0], "CerraData-4MM")
    table = benchmark.collect([file], tmp_path / "scores.csv", comparable=True)
    assert table[[PAPER_F1, "macro_f1_difference"]].isna().all(axis=None)
    benchmark.write_markdown(table, tmp_path / "table.md", title="T", source="CerraData-4MM")
    assert "| – | – | – | – |" in (tmp_path / "table.md").read_text(encoding="utf-8")


def test_seeds_are_summarised(tmp_path):
    table = collected(tmp_path, "simulated landscape", False)
    table["macro_f1"] = [10.0, 40.0, 43.0, 50.0, 20.0]
    seeds = benchmark.over_seeds(table)
    assert seeds[["modality", "recipe", "seeds"]].to_numpy().tolist() == [["concat", "paper", 2]]
    assert seeds["macro_f1_mean"].item() == 41.5
    assert seeds["macro_f1_std"].item() == pytest.approx(4.5**0.5, abs=0.005)
    benchmark.write_markdown(table, tmp_path / "table.md", title="T", source="simulated landscape")
    assert "41.50 ± 2.12" in (tmp_path / "table.md").read_text(encoding="utf-8")


def test_one_seed_needs_no_summary(tmp_path):
    file = evaluated(tmp_path, IDS[0], "simulated landscape")
    table = benchmark.collect([file], PAPER_SCORES, comparable=False)
    assert benchmark.over_seeds(table).empty
    benchmark.write_markdown(table, tmp_path / "table.md", title="T", source="simulated landscape")
    assert "±" not in (tmp_path / "table.md").read_text(encoding="utf-8")


def test_unusable_collections_are_refused(tmp_path):
    file = evaluated(tmp_path / "a", IDS[0], "simulated landscape")
    other = evaluated(tmp_path / "b", IDS[1], "CerraData-4MM")
    with pytest.raises(DataError, match="expected at least one"):
        benchmark.collect([], PAPER_SCORES, comparable=False)
    with pytest.raises(DataError, match="comes twice"):
        benchmark.collect([file, file], PAPER_SCORES, comparable=False)
    with pytest.raises(DataError, match="data sources are"):
        benchmark.collect([file, other], PAPER_SCORES, comparable=False)
    with pytest.raises(DataError, match="'simulated landscape'; expected CerraData-4MM"):
        benchmark.collect([file], PAPER_SCORES, comparable=True)


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"scenario": {"id": "x"}, "source": "y"})])
def test_an_unreadable_file_is_named(tmp_path, content):
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(DataError, match=r"metrics.json cannot be read as metrics"):
        benchmark.collect([tmp_path / "metrics.json"], PAPER_SCORES, comparable=False)


def test_paper_scores_must_have_their_columns(tmp_path):
    (tmp_path / "scores.csv").write_text("model,macro_f1\nunet,1\n")
    with pytest.raises(DataError, match="lack the columns"):
        benchmark.collect([evaluated(tmp_path, IDS[0], "x")], tmp_path / "scores.csv", comparable=False)
