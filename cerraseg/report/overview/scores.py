"""Scores for the overview page: each scenario's course, counts and classes; the benchmark as a chart's columns."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cerraseg.core.errors import DataError
from cerraseg.evaluation import bootstrap, score_files
from cerraseg.evaluation.benchmark import SCORES, further_scores, paper_column
from cerraseg.report.charts import MODALITY_COLOURS
from cerraseg.report.tables import DIFFERENCE, PAPER

COURSES = {
    "train_loss": "training loss",
    "val_loss": "validation loss",
    "val_macro_f1": "macro F1",
    "val_miou": "mIoU",
    "val_edge_f1": "F1 of edges",
}
"""Columns of a history that the page draws; scores are fractions there and percent here."""


@dataclass(frozen=True)
class Scored:
    """Files of a scenario: the folder of its scores (``metrics.json``, ``patches.npz``), its history if it has one."""

    scores: Path
    history: Path | None = None


def scenario(files: Scored) -> dict[str, Any]:
    """A scenario ready for JSON: level, history or None, confusion matrix, and one entry a class.

    Scores are in percent with two decimals; F1 and IoU of a class come with their 95 % bootstrap interval over patches.

    Raises :class:`DataError` if a file cannot be read.
    """
    path = files.scores / "metrics.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        level, classes = content["scenario"]["level"], content["classes"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} cannot be read as metrics ({error!r}); expected a metrics.json of the evaluation: run it again."
        ) from error
    confusions = score_files.read_patches(path.with_name("patches.npz"))[1]
    ends = {
        score: np.percentile(drawn, [2.5, 97.5], axis=0)
        for score, drawn in zip(("f1", "iou"), bootstrap.class_draws(confusions), strict=True)
    }
    rows = []
    for row in classes:
        scores = {name: _percent(row[name]) for name in ("precision", "recall", "f1", "iou")}
        whiskers = {score: [_percent(value) for value in ends[score][:, row["id"]]] for score in ends}
        rows.append(scores | {f"{score}_interval": pair for score, pair in whiskers.items()})
    return {
        "level": level,
        "history": _history(files.history) if files.history else None,
        "confusion": confusions.sum(axis=0, dtype=np.int64).tolist(),
        "classes": rows,
    }


def _percent(fraction: float) -> float:
    return round(100 * float(fraction), 2)


def _history(path: Path) -> dict[str, Any]:
    try:
        table = pd.read_csv(path)
        missing = {"epoch", "selected", *list(COURSES)[:4]} - set(table)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); expected a history: train the scenario again.") from error
    if missing:
        raise DataError(f"{path} lacks the columns {sorted(missing)}; expected a history: train the scenario again.")
    factors = {name: 1 if name.endswith("loss") else 100 for name in COURSES if name in table}
    return {
        "epoch": table["epoch"].tolist(),
        "selected": table.loc[table["selected"].astype(bool), "epoch"].tolist(),
        "columns": {name: _listed((table[name] * factor).round(5)) for name, factor in factors.items()},
    }


def headings(table: pd.DataFrame) -> dict[str, str]:
    """Score columns of a benchmark table (:func:`benchmark.collect`) and their headings, for people."""
    further = {
        name: f"F1 of edges, {name.rpartition('_')[2]} px" if name.startswith("edge") else f"{_plain(name)} (as L1)"
        for name in further_scores(table)
    }
    return SCORES | further


def _plain(name: str) -> str:
    return SCORES[name.removesuffix("_as_l1")]


def benchmark(table: pd.DataFrame) -> dict[str, Any]:
    """Columns of the benchmark's chart, ready for JSON: ids, colours, epochs and each score's value, low, high, paper.

    The paper's values are there only if every row of ``table`` is comparable.
    """
    comparable = bool(table["comparable"].all())
    scores = {}
    for name, heading in headings(table).items():
        columns = {"value": name, "low": f"{name}_low", "high": f"{name}_high"}
        if comparable:
            columns["paper"] = paper_column(name)
        scores[name] = {"heading": heading} | {
            part: _listed(table[column]) for part, column in columns.items() if column in table
        }
    return {
        "ids": table["id"].tolist(),
        "colours": table["modality"].map(MODALITY_COLOURS).tolist(),
        "epochs": _listed(table["epochs"]),
        "scores": scores,
    }


def _listed(column: "pd.Series[Any]") -> list[Any]:
    return [None if pd.isna(value) else value for value in column.tolist()]


def benchmark_table(table: pd.DataFrame) -> str:
    """The benchmark as an HTML table: scores in percent with their intervals; the paper's where all is comparable."""
    names = {"id": "Scenario", **headings(table), "epochs": "Epochs", "patches": "Test patches"}
    if table["comparable"].all():
        names |= {column: heading for column, heading in (PAPER | DIFFERENCE).items() if column in table}
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in names.values())
    rows = "\n".join(_row(row, names) for row in table.to_dict("records"))
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table>"


def _row(row: Mapping[Any, Any], names: Mapping[str, str]) -> str:
    id_ = escape(str(row["id"]))
    cells = [f'<th scope="row"><a href="#scenario" data-scenario="{id_}">{id_}</a></th>']
    for name in list(names)[1:]:
        value, low, high = (row.get(column) for column in (name, f"{name}_low", f"{name}_high"))
        if value is None or pd.isna(value):
            cells.append("<td>–</td>")
        elif name in ("epochs", "patches"):
            cells.append(f"<td>{int(value):,}</td>")
        else:
            sign = "+" if name in DIFFERENCE else ""
            ends = f" <small>[{low:.1f}, {high:.1f}]</small>" if low is not None and pd.notna(low) else ""
            cells.append(f"<td>{value:{sign}.2f}{ends}</td>")
    return f"<tr>{''.join(cells)}</tr>"
