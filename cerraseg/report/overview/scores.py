"""Scores for the overview page: history, counts and classes of each scenario, and the benchmark."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cerraseg.evaluation import bootstrap, score_files
from cerraseg.evaluation.benchmark import (
    ABOVE_BASELINE,
    BASELINE,
    MARK,
    PAPER_SCORES,
    SCORES,
    further_scores,
    not_above_baseline,
    paper_column,
)
from cerraseg.report.benchmark.tables import ABOVE, DIFFERENCE, PAPER

HISTORY_LINES = {
    "train_loss": "training loss",
    "val_loss": "validation loss",
    "val_macro_f1": "macro F1",
    "val_miou": "mIoU",
    "val_edge_f1": "F1 of edges",
}
"""Columns of a history that the page draws (scores as fractions there, in percent on the page) and their names."""


class Scored(NamedTuple):
    """Files of a scenario: the folder with its ``metrics.json`` and ``patches.npz``, and its history if it has one."""

    scores: Path
    history: Path | None = None

    @classmethod
    def of(cls, results: Path, id_: str, trained: Collection[str]) -> "Scored":
        """Return the files of a scenario in a results folder, whose history counts if it is among those ``trained``."""
        history = results / "histories" / f"{id_}.csv"
        return cls(results / "scores" / id_, history if history in map(Path, trained) else None)


def scenario_scores(files: Scored, folder: Path) -> dict[str, Any]:
    """Read a scenario's level, history (or None), confusion counts and scores by class, ready for JSON.

    ``files`` are named from ``folder``.

    Scores are in percent with two decimals; F1 and IoU come with their 95 % bootstrap interval.
    """
    content = score_files.read_metrics(files.scores)
    units = score_files.read_units(files.scores / "patches.npz")[1]
    rows: list[dict[str, Any]] = [
        {name: _percent(row[name]) for name in ("precision", "recall", "f1", "iou")} for row in content["classes"]
    ]
    for score, ends in zip(("f1", "iou"), bootstrap.class_intervals(units), strict=True):
        for row, pair in zip(rows, ends.T, strict=True):
            row[f"{score}_interval"] = [None if np.isnan(end) else _percent(end) for end in pair]
    listed = [*(files.scores / name for name in ("metrics.json", "confusion.csv", "classes.csv")), files.history]
    return {
        "level": content["scenario"]["level"],
        "history": _history(files.history) if files.history else None,
        "confusion": units.sum(axis=0, dtype=np.int64).tolist(),
        "classes": rows,
        "files": [Path(os.path.relpath(path, folder)).as_posix() for path in listed if path and path.exists()],
    }


def _percent(fraction: float) -> float:
    return round(100 * float(fraction), 2)


def _history(path: Path) -> dict[str, Any]:
    table = pd.read_csv(path)
    factors = {name: 1 if name.endswith("loss") else 100 for name in HISTORY_LINES if name in table}
    return {
        "epoch": table["epoch"].tolist(),
        "selected": table.loc[table["selected"].astype(bool), "epoch"].tolist(),
        "columns": {name: _listed((table[name] * factor).round(5)) for name, factor in factors.items()},
    }


def rank(table: pd.DataFrame) -> pd.DataFrame:
    """Sort a benchmark's table by level, in the order given, and macro F1, the best first."""
    places = table.assign(level=pd.factorize(table["level"])[0], macro_f1=-table["macro_f1"])
    return table.loc[places.sort_values(["level", "macro_f1"], kind="stable").index].reset_index(drop=True)


def headlines(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Name the best scenario of each level, by macro F1, beside its baseline; the best of all levels first.

    Returns:
        The row of the benchmark's table, with ``bars`` (name, id, value, low and high of the scenario, then of the
        pixel-wise baseline and the paper where there are any), ``apart`` (points to the baseline, or None) and
        ``above`` (whether the paired interval of that lies above 0).
    """
    found, beside = [], _beside(table)
    marked = not_above_baseline(table) if ABOVE_BASELINE in table else None
    for _, rows in table.groupby("level", sort=False):
        trained = rows[rows["recipe"] != BASELINE[1]]
        best: Any = (trained if len(trained) else rows)["macro_f1"].idxmax()
        row, baseline = table.loc[best], beside.loc[best]
        bars = [_headline_bar("best", row)]
        if pd.notna(baseline["id"]) and baseline["id"] != row["id"]:
            bars.append(_headline_bar("pixel-wise baseline", baseline))
        if pd.notna(paper := row.get(paper_column("macro_f1"))):
            bars.append({"name": "paper", "id": None, "value": paper, "low": None, "high": None})
        apart = _plain(row.get(ABOVE_BASELINE))
        above = marked is not None and apart is not None and not marked[best]
        found.append({**row.to_dict(), "bars": bars, "apart": apart, "above": above})
    return sorted(found, key=lambda row: -float(row["macro_f1"]))


def _headline_bar(name: str, row: "pd.Series[Any]") -> dict[str, Any]:
    ends = {end: _plain(row[f"macro_f1_{end}"]) for end in ("low", "high")}
    return {"name": name, "id": row["id"], "value": row["macro_f1"], **ends}


def _beside(table: pd.DataFrame) -> pd.DataFrame:
    """Give for each row that of the pixel-wise baseline of the same bands and level, empty where there is none."""
    ground = ["modality", "level"]
    baselines = table[(table[["model", "recipe"]] == list(BASELINE)).all(axis=1)].drop_duplicates(ground)
    return table[ground].merge(baselines, "left", ground).set_axis(table.index)


def benchmark_columns(table: pd.DataFrame, colours: Mapping[str, str]) -> dict[str, Any]:
    """Give the columns of the benchmark's bars, ready for JSON, from its CSV.

    ``colours`` are those of the modalities. Each score has its heading, values, ends of intervals where there are any,
    the values of the pixel-wise baseline of the same bands and level, and the paper's values if comparable.
    ``baselines`` has the ids of those.
    """
    scores, beside = {}, _beside(table)
    for name, heading in _headings(table).items():
        columns = {"value": name, "low": f"{name}_low", "high": f"{name}_high", "paper": paper_column(name)}
        values = {part: _listed(table[column]) for part, column in columns.items() if column in table}
        scores[name] = {"heading": heading, "baseline": _listed(beside[name]), **values}
    bars = [colours[modality] for modality in table["modality"]]
    return {"ids": table["id"].tolist(), "colours": bars, "baselines": _listed(beside["id"]), "scores": scores}


def benchmark_rows(table: pd.DataFrame) -> tuple[list[str], list[tuple[str, list[tuple[str, str]]]]]:
    """Give the headings of the benchmark's table, and per scenario its id and each column's value and interval."""
    first, headings = PAPER_SCORES[0], _headings(table)
    beside = {column: heading for column, heading in (ABOVE | PAPER | DIFFERENCE).items() if column in table}
    names = {first: headings.pop(first), **beside, **headings, "epochs": "Epochs"}
    if table["patches"].nunique() > 1:
        names["patches"] = "Test patches"
    rows = [(row["id"], [_cell(row, name) for name in names]) for row in table.to_dict("records")]
    for column in set(ABOVE) & set(names):
        for (_, cells), marked in zip(rows, not_above_baseline(table), strict=True):
            value, interval = cells[place := list(names).index(column)]
            cells[place] = value, f"{interval} {MARK * marked}"
    return ["Scenario", *names.values()], rows


def _cell(row: Mapping[Any, Any], name: str) -> tuple[str, str]:
    value, low, high = (row.get(column) for column in (name, f"{name}_low", f"{name}_high"))
    if value is None or pd.isna(value):
        return "–", ""
    if name in ("epochs", "patches"):
        return f"{int(value):,}", ""
    interval = f"[{low:.1f}, {high:.1f}]" if low is not None and pd.notna(low) else ""
    return f"{value:{'+' if name in DIFFERENCE | ABOVE else ''}.2f}", interval


def _headings(table: pd.DataFrame) -> dict[str, str]:
    edges = [name for name in further_scores(table) if name.startswith("edge")]
    rolled_up = [name.partition("_as_") for name in further_scores(table) if name not in edges]
    return {
        **SCORES,
        **{name: f"F1 of edges, {name.rpartition('_')[2]} px" for name in edges},
        **{"".join(parts): f"{SCORES[parts[0]]} (as {parts[2].upper()})" for parts in rolled_up},
    }


def _listed(column: "pd.Series[Any]") -> list[Any]:
    return list(map(_plain, column.tolist()))


def _plain(value: Any) -> Any:
    return None if pd.isna(value) else value
