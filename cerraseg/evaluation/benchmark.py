"""The benchmark's tables: one row per scenario with the published score where there is one, by class and by pair.

A score on other data than the paper's is never compared with the paper's.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cerraseg.config import scenario
from cerraseg.config.dataset import Dataset
from cerraseg.core.errors import DataError
from cerraseg.evaluation import bootstrap, metrics, score_files

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
"""Scores that the paper gives for every scenario; they come with an interval, and scored as each coarser level."""

PAPER_KEY = ["model", "modality", "weighting", "level"]
GROUP = ["level", "model", "modality", "weighting", "recipe"]
"""What a scenario is apart from its seed, in the order of the tables."""

BASELINE = (scenario.BASELINES[0], scenario.BASELINE)
"""Model and recipe of the scenario that every other one of its modality and level is to beat."""

ABOVE_BASELINE = "baseline_difference"
"""Column with the macro F1 of a scenario minus that of its baseline, in points; with ``_low`` and ``_high``."""

MARK = "†"
"""Of scores that are not shown to be above the baseline's."""

_POINTS = ["difference", "low", "high"]
_PAIR_COLUMNS = ["first", "second", "level", "source", *_POINTS, "p", "p_holm", "draws"]
_Entrants = dict[tuple[str, str], list[NDArray[np.integer]]]


def paper_column(score: str) -> str:
    """Return the name of the column with the published value of ``score``."""
    return f"paper_{score} ({PAPER_DATA})"


def difference_column(score: str) -> str:
    """Return the name of the column with this run's ``score`` minus the published one, in percentage points."""
    return f"{score}_difference"


class _Run(NamedTuple):
    path: Path
    fields: dict[str, Any]
    source: str
    scores: dict[str, Any]
    classes: list[dict[str, Any]]

    def units(self) -> tuple[tuple[str, ...], NDArray[np.integer]]:
        """Read names and counts of what intervals are drawn over, see :func:`score_files.read_units`."""
        names, counts = score_files.read_units(self.path.with_name("patches.npz"))
        return tuple(names.ravel().tolist()), counts


def _runs(metrics_files: Iterable[str | Path], dataset: Dataset) -> list[_Run]:
    runs = [_read(Path(path)) for path in metrics_files]
    ids = [run.fields["id"] for run in runs]
    if twice := sorted({name for name in ids if ids.count(name) > 1}):
        raise DataError(f"scenario {', '.join(twice)} comes twice; expected each once: remove the extra metrics.json.")
    if len(sources := sorted({run.source for run in runs})) > 1:
        raise DataError(f"the data sources are {sources}; expected one a table: collect each in its own table.")
    known: dict[str, tuple[str, ...]] = {"recipe": (), "modality": dataset.modalities, "level": tuple(dataset.levels)}
    values = {axis: [*(scenario.AXES | known)[axis], *(run.fields[axis] for run in runs)] for axis in GROUP}

    def key(run: _Run) -> list[int]:
        level, *others = (values[axis].index(run.fields[axis]) for axis in GROUP)
        return [level, run.fields["recipe"] != BASELINE[1], *others, run.fields["seed"]]

    return sorted(runs, key=key)


def _read(path: Path) -> _Run:
    content = score_files.read_metrics(path.parent)
    fields = {field: content["scenario"][field] for field in ("id", *PAPER_KEY, "recipe", "seed")}
    classes = [
        {"abbreviation": entry["abbreviation"], "name": entry["name"]}
        | {score: round(100 * entry[score], 2) for score in ("f1", "iou", "precision", "recall")}
        | {"support": entry["support"]}
        for entry in content["classes"]
    ]
    return _Run(path, fields, content["source"], _score_columns(content), classes)


def _score_columns(content: dict[str, Any]) -> dict[str, Any]:
    resampled = content["resampled"]
    row = {"patches": content["patches"], "drawn": resampled["units"], "units": resampled["count"]}
    for score in SCORES:
        row[score] = round(100 * content["scores"][score], 2)
        if score in PAPER_SCORES:
            low, high = content["intervals"][score] or (math.nan, math.nan)
            row |= {f"{score}_low": round(100 * low, 2), f"{score}_high": round(100 * high, 2)}
    for tolerance, scores in (content.get("edges") or {}).items():
        row[f"edge_f1_{tolerance}"] = round(100 * scores["f1"], 2)
    return row | {"epochs": (content.get("training") or {}).get("epochs")}


def collect(
    metrics_files: Sequence[str | Path], paper_scores: str | Path, dataset: Dataset, *, comparable: bool
) -> pd.DataFrame:
    """Gather ``metrics.json`` files into one table, by :data:`GROUP` and seed.

    Args:
        metrics_files: with the ``patches.npz`` beside each; recipes and custom models keep this order.
        paper_scores: table of the published scores, which stay empty with another dataset than the paper's.
        comparable: whether the data *and* the split are the paper's; otherwise the differences stay empty.

    Returns:
        The columns id, the scenario's fields, source, comparable, patches, drawn and units (patches or groups, over
        which intervals are, and how many), :data:`SCORES` (percent, two decimals; macro_f1 and miou with the ends
        ``_low`` and ``_high`` of their 95 % interval), :func:`further_scores`, epochs, where a :data:`BASELINE` is
        among the scenarios the columns of :data:`ABOVE_BASELINE` by paired draws, then the published values
        (:func:`paper_column`) and the differences to them (:func:`difference_column`).

    Raises:
        DataError: if a scenario comes twice, the data sources differ, or ``comparable`` is claimed for other data.
    """
    runs = _runs(metrics_files, dataset)
    if comparable and not runs[0].source.startswith(PAPER_DATA):
        raise DataError(
            f"the data source is {runs[0].source!r}; expected {PAPER_DATA} for a comparable run: pass comparable=False."
        )
    rows = [
        {**run.fields, "source": run.source, "comparable": comparable, **run.scores, **_as_coarser(run, dataset)}
        for run in runs
    ]
    table = pd.DataFrame(rows).astype({"epochs": "Int64"})
    last = [*further_scores(table), "epochs"]
    table = table[[*(column for column in table if column not in last), *last]]
    table = table.join(pd.DataFrame(_above_baseline(runs), index=table.index))
    names = {score: paper_column(score) for score in PAPER_SCORES}
    paper = pd.read_csv(paper_scores)[[*PAPER_KEY, *PAPER_SCORES]].rename(columns=names)
    table = table.merge(paper if dataset.name == PAPER_DATA else paper[:0], how="left", on=PAPER_KEY)
    for score, column in names.items():
        table[difference_column(score)] = (table[score] - table[column]).round(2).where(table["comparable"])
    return table


def further_scores(table: pd.DataFrame) -> list[str]:
    """List the columns that only some tables have: ``edge_f1_<tolerance>`` and ``<score>_as_<coarser level>``."""
    edges = sorted(column for column in table.columns if column.startswith("edge_f1_"))
    return [*edges, *(name for score in PAPER_SCORES for name in table.columns if name.startswith(f"{score}_as_"))]


def roll_up(confusions: NDArray[np.integer], parents: Sequence[int], classes: int) -> NDArray[np.int64]:
    """Sum counts ``(..., K, K)`` up to those of a coarser level, ``(..., classes, classes)``.

    ``parents`` has the position there of each class's ancestor.
    """
    holds = np.eye(classes, dtype=np.int64)[list(parents)]
    return np.asarray(holds.T @ confusions.astype(np.int64) @ holds)


def _rolled_up(confusions: NDArray[np.integer], level: str, dataset: Dataset) -> dict[str, NDArray[np.int64]]:
    """Roll counts of a level up to each coarser level that it is linked with, by that level's name."""
    ancestors = dataset.ancestors(level)
    return {name: roll_up(confusions, parents, len(dataset.classes(name))) for name, parents in ancestors.items()}


def _as_coarser(run: _Run, dataset: Dataset) -> dict[str, float]:
    if not dataset.ancestors(run.fields["level"]):
        return {}
    counts = _rolled_up(run.units()[1].sum(axis=0), run.fields["level"], dataset)
    return {
        f"{score}_as_{level}": round(100 * getattr(metrics.compute_scores(counts[level]), score), 2)
        for level in counts
        for score in PAPER_SCORES
    }


def above_baseline(metrics_file: Path, baseline: Path) -> list[float]:
    """Compare the macro F1 of a scenario with its baseline's, both by their ``metrics.json``, on paired draws.

    Returns the difference in points and its interval's ends; NaN if not scored on the same patches and groups.
    """
    files = (path.with_name("patches.npz") for path in (metrics_file, baseline))
    (names, counts), (expected, others) = map(score_files.read_units, files)
    if not np.array_equal(names, expected):
        return [math.nan] * 3
    (found,) = bootstrap.compare_all({"run": [counts], "baseline": [others]}, [("run", "baseline")])
    return [round(100 * value, 2) for value in found[:3]]


def _above_baseline(runs: Sequence[_Run]) -> dict[str, list[float]]:
    """Compare each run with the first baseline of its modality and level; NaN where there is no other."""
    columns = [ABOVE_BASELINE, f"{ABOVE_BASELINE}_low", f"{ABOVE_BASELINE}_high"]
    first: dict[tuple[str, str], Path] = {}
    for run in runs:
        if (run.fields["model"], run.fields["recipe"]) == BASELINE:
            first.setdefault((run.fields["modality"], run.fields["level"]), run.path)
    baselines = [first.get((run.fields["modality"], run.fields["level"]), run.path) for run in runs]
    pairs = [(run.path, baseline) for run, baseline in zip(runs, baselines, strict=True)]
    rows = [above_baseline(*pair) if pair[0] != pair[1] else [math.nan] * 3 for pair in pairs]
    return dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True)) if first else {}


def beside_baseline(table: pd.DataFrame) -> str:
    """Tell, of a table of :func:`collect`, which scenarios do not beat their baseline, or that none was run."""
    if ABOVE_BASELINE not in table:
        return "No pixel-wise baseline was run beside these scenarios: what a score is worth cannot be said."
    rows, beaten = table.dropna(subset=ABOVE_BASELINE), not_above_baseline(table)
    return (
        f"Above baseline: macro F1 minus that of the pixel-wise baseline ({'-'.join(BASELINE)}) of the same bands and "
        f"level, in points, with its paired interval; {MARK}, {beaten.sum()} of {len(rows)}: it does not lie above 0."
    )


def not_above_baseline(table: pd.DataFrame) -> "pd.Series[bool]":
    """Tell of each row whether its paired interval does not lie above 0, so that the baseline may be as good."""
    return ~(table[f"{ABOVE_BASELINE}_low"] > 0) & table[ABOVE_BASELINE].notna()


def per_class(metrics_files: Sequence[str | Path], dataset: Dataset) -> pd.DataFrame:
    """Tabulate one row per scenario and class, in the order of :func:`collect`.

    Columns: id, the scenario's fields, source, abbreviation and name of the class, then f1, iou, precision and recall
    (percent, two decimals) and support (true pixels).
    """
    runs = _runs(metrics_files, dataset)
    return pd.DataFrame([run.fields | {"source": run.source} | row for run in runs for row in run.classes])


def pairs(metrics_files: Sequence[str | Path], dataset: Dataset) -> pd.DataFrame:
    """Compare every two scenarios that were scored on the same patches, by macro F1, on paired bootstrap draws.

    Each level is compared with itself, and with finer levels rolled up (:func:`roll_up`), marked ``as_<level>``. A
    scenario with several seeds is one entrant, named without its seed: its score, and each draw, is the mean over its
    seeds.

    Columns: first (the better one), second, level, source, difference of macro F1 (first minus second, in points), its
    95 % interval low and high, p (:func:`bootstrap.compare`), p_holm (adjusted for all pairs) and draws.
    """
    runs = _runs(metrics_files, dataset)
    rows = [row for entrants in _entrants(runs, dataset) for row in _compared(entrants)]
    table = pd.DataFrame(rows, columns=_PAIR_COLUMNS)
    table["source"] = runs[0].source
    table["p_holm"] = bootstrap.holm(table["p"])
    table[_POINTS] *= 100
    return table.round({**dict.fromkeys(_POINTS, 2), "p": 6, "p_holm": 6})


def _entrants(runs: Sequence[_Run], dataset: Dataset) -> Iterable[_Entrants]:
    """Group the counts of each seed by name and level, for each set of patches.

    Where a run is of a coarser level ``l1``, say, the finer levels come as ``as_l1`` too.
    """
    found: dict[tuple[str, ...], _Entrants] = {}
    levels = {run.fields["level"] for run in runs}
    seeds = Counter(run.fields["id"].rpartition("-")[0] for run in runs)
    for run in runs:
        names, confusions = run.units()
        entrants = found.setdefault(names, {})
        name, level = run.fields["id"], run.fields["level"]
        name = stem if seeds[stem := name.rpartition("-")[0]] > 1 else name
        entrants.setdefault((name, level), []).append(confusions)
        for coarser, counts in _rolled_up(confusions, level, dataset).items():
            if coarser in levels:
                entrants.setdefault((name, f"as_{coarser}"), []).append(counts)
    return found.values()


def _compared(entrants: _Entrants) -> Iterator[dict[str, object]]:
    # Runs come by level, the coarsest first: what is rolled up stands after the level that it is compared with.
    matches = [
        (first, second)
        for first, second in combinations(entrants, 2)
        if not first[1].startswith("as_") and second[1] in (first[1], f"as_{first[1]}")
    ]
    for pair, result in zip(matches, bootstrap.compare_all(entrants, matches), strict=True):
        (first, _), (second, level) = pair
        row = {"level": level, "draws": bootstrap.draws_for(len(matches))}
        if result.difference < 0:
            first, second, result = second, first, result.reverse()
        yield row | {"first": first, "second": second} | result._asdict()
