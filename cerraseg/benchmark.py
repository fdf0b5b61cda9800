"""The benchmark table: one row a scenario, with the published score where the paper has that scenario.

House rule: a score on other data than the paper's never stands beside the paper's as if the two could be compared.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cerraseg.errors import DataError
from cerraseg.files import replacing
from cerraseg.scenario import AXES

PAPER_DATA = "CerraData-4MM"
"""Data source of the published scores: a comparable run's source label starts with it."""

SCORES = {
    "accuracy": "Accuracy",
    "macro_f1": "Macro F1",
    "macro_f1_present": "Macro F1 (present)",
    "weighted_f1": "Weighted F1",
    "miou": "mIoU",
    "kappa": "Kappa",
}
"""Score columns (percent, two decimals) and their headings."""

PAPER_SCORES = ("macro_f1", "miou")
"""Scores that the paper gives for every scenario."""

PAPER_KEY = ["model", "modality", "weighting", "level"]
ORDER = ["level", "model", "modality", "weighting", "recipe", "seed"]
_RANK = {value: rank for values in AXES.values() for rank, value in enumerate(values)}


def paper_column(score: str) -> str:
    """Name of the column with the published value of ``score``."""
    return f"paper_{score} ({PAPER_DATA})"


def difference_column(score: str) -> str:
    """Name of the column with this run's ``score`` minus the published one, in percentage points."""
    return f"{score}_difference"


def collect(metrics_files: Sequence[str | Path], paper_scores: str | Path, *, comparable: bool) -> pd.DataFrame:
    """Gather ``metrics.json`` files into one table, sorted by level, model, modality, weighting, recipe and seed.

    Columns: id, the scenario's fields, source, comparable, patches, :data:`SCORES` (percent, two decimals), epochs of
    training (empty where unknown), then the published values (:func:`paper_column`; empty where the paper
    lacks the scenario) and the differences to them (:func:`difference_column`). ``comparable`` says that the data *and*
    the split are the paper's: otherwise the differences stay empty.

    Raises :class:`DataError` if a file cannot be read, a scenario comes twice, the data sources differ, or
    ``comparable`` is claimed for other data.
    """
    if not metrics_files:
        raise DataError("no metrics file was given; expected at least one metrics.json: evaluate a scenario first.")
    rows = [_row(Path(path)) for path in metrics_files]
    rows.sort(key=lambda row: [(_RANK.get(row[field], len(_RANK)), row[field]) for field in ORDER])
    table = pd.DataFrame(rows).astype({"epochs": "Int64"})
    twice = sorted(table["id"][table["id"].duplicated()].unique())
    if twice:
        raise DataError(f"scenario {', '.join(twice)} comes twice; expected each once: remove the extra metrics.json.")
    sources = sorted(table["source"].unique())
    if len(sources) > 1:
        raise DataError(f"the data sources are {sources}; expected one a table: collect each in its own table.")
    if comparable and not sources[0].startswith(PAPER_DATA):
        raise DataError(
            f"the data source is {sources[0]!r}; expected {PAPER_DATA} for a comparable run: pass comparable=False."
        )
    table.insert(list(table.columns).index("patches"), "comparable", comparable)
    return _with_paper(table, pd.read_csv(paper_scores))


def _row(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        scenario = content["scenario"]
        return {
            "id": scenario["id"],
            **{field: scenario[field] for field in (*AXES, "seed")},
            "source": content["source"],
            "patches": content["patches"],
            **{score: round(100 * content["scores"][score], 2) for score in SCORES},
            "epochs": (content.get("training") or {}).get("epochs"),
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{path} cannot be read as metrics ({error!r}); expected a metrics.json of the evaluation: run it again."
        ) from error


def _with_paper(table: pd.DataFrame, paper: pd.DataFrame) -> pd.DataFrame:
    names = {score: paper_column(score) for score in PAPER_SCORES}
    missing = {*PAPER_KEY, *PAPER_SCORES} - set(paper.columns)
    if missing:
        raise DataError(f"the paper's scores lack the columns {sorted(missing)}; expected reference/paper_scores.csv.")
    table = table.merge(paper[[*PAPER_KEY, *PAPER_SCORES]].rename(columns=names), how="left", on=PAPER_KEY)
    for score, column in names.items():
        difference = (table[score] - table[column]).round(2)
        table[difference_column(score)] = difference.where(table["comparable"])
    return table


def over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Mean and sample standard deviation of each score over the seeds of a scenario, for those with more than one.

    Columns: the scenario's fields without the seed, ``seeds`` (how many), then ``<score>_mean`` and ``<score>_std``
    (percent, two decimals).
    """
    fields = [field for field in ORDER if field != "seed"]
    groups = table.groupby(fields, sort=False)
    parts: dict[str, pd.Series[Any]] = {"seeds": groups["seed"].count()}
    for score in SCORES:
        parts[f"{score}_mean"] = groups[score].mean().round(2)
        parts[f"{score}_std"] = groups[score].std().round(2)
    result = pd.DataFrame(parts).reset_index()
    return result[result["seeds"] > 1].reset_index(drop=True)


def write_csv(table: pd.DataFrame, path: str | Path) -> None:
    """Write the table of :func:`collect` as CSV: dot decimals, empty cells where there is no value."""
    with replacing(path) as part:
        table.to_csv(part, index=False, lineterminator="\n")


def write_markdown(table: pd.DataFrame, path: str | Path, *, title: str, source: str) -> None:
    """Write the table of :func:`collect` as a Markdown page headed ``title`` and the data's ``source``.

    The paper's values stand beside the run's only where both are comparable; otherwise they come in a table of their
    own, under a heading that says so. Scenarios with several seeds get a table of mean ± standard deviation.
    """
    comparable = bool(table["comparable"].all())
    sections = [f"# {title}", f"Data: {source}. {_RULE}", _run_table(table, comparable)]
    if comparable:
        sections.insert(2, f"Δ is this run minus the paper, both on {PAPER_DATA}, in percentage points.")
    seeds = over_seeds(table)
    if len(seeds):
        sections += [f"## Mean ± standard deviation over seeds ({source})", _seed_table(seeds)]
    published = table.dropna(subset=list(_PAPER)).drop_duplicates(PAPER_KEY)
    if not comparable and len(published):
        sections += [
            f"## Published scores on {PAPER_DATA}, not comparable with this run",
            f"The paper's scores of the same scenarios, on {PAPER_DATA} and its split. The run above used {source}: "
            "the two tables must not be read against each other.",
            _table(published[[*PAPER_KEY, *_PAPER]], _PAPER),
        ]
    with replacing(path) as part:
        part.write_text("\n\n".join(sections) + "\n", encoding="utf-8")


_RULE = (
    "Scores in percent. Macro F1 and mIoU are plain means over all classes of the level, with 0 for a class never "
    "predicted; *(present)* averages over the classes that the truth holds."
)
_PAPER = {paper_column(score): f"Paper's {SCORES[score]}" for score in PAPER_SCORES}
_DIFFERENCE = {difference_column(score): f"Δ {SCORES[score]}" for score in PAPER_SCORES}


def _run_table(table: pd.DataFrame, comparable: bool) -> str:
    headings = {"id": "Scenario", **SCORES, "epochs": "Epochs"}
    if comparable:
        headings |= _PAPER | _DIFFERENCE
    shown = table[list(headings)].copy()
    for column in set(_DIFFERENCE) & set(headings):
        shown[column] = [f"{value:+.2f}" if pd.notna(value) else None for value in shown[column]]
    return _table(shown, headings)


def _seed_table(seeds: pd.DataFrame) -> str:
    shown = seeds[[*(field for field in ORDER if field != "seed"), "seeds"]].copy()
    for score in SCORES:
        pairs = zip(seeds[f"{score}_mean"], seeds[f"{score}_std"], strict=True)
        shown[score] = [f"{mean:.2f} ± {std:.2f}" for mean, std in pairs]
    return _table(shown, SCORES)


def _table(table: pd.DataFrame, headings: Mapping[str, str]) -> str:
    """A Markdown table: numbers to the right, floats with two decimals, a dash for an empty cell."""
    names = [headings.get(column, column.capitalize()) for column in table.columns]
    texts = {"id", *AXES}
    rules = [":--" if column in texts else "--:" for column in table.columns]
    rows = [[_cell(value) for value in row] for row in table.astype(object).itertuples(index=False)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [names, rules, *rows])


def _cell(value: object) -> str:
    if pd.isna(value):  # type: ignore[call-overload]
        return "–"
    return f"{value:.2f}" if isinstance(value, float) else str(value)
