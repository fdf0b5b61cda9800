"""The benchmark's tables as files: CSV, a Markdown page, and LaTeX for an article. Each names its data source."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from cerraseg.config.dataset import Dataset
from cerraseg.core.files import atomic_write
from cerraseg.evaluation import bootstrap
from cerraseg.evaluation.benchmark import (
    ABOVE_BASELINE,
    BASELINE,
    GROUP,
    MARK,
    PAPER_DATA,
    PAPER_KEY,
    PAPER_SCORES,
    SCORES,
    beside_baseline,
    difference_column,
    further_scores,
    not_above_baseline,
    paper_column,
)
from cerraseg.report.markdown import load_template, markdown_table

# Columns and their headings.
PAPER = {paper_column(score): f"Paper's {SCORES[score]}" for score in PAPER_SCORES}
DIFFERENCE = {difference_column(score): f"Δ {SCORES[score]}" for score in PAPER_SCORES}
ABOVE = {ABOVE_BASELINE: "Above baseline"}
_ASSETS = Path(__file__).with_name("assets")
_TEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "–": "--"}
    | {MARK: r"\dag{}"}
)


def by_scenario(table: pd.DataFrame, score: str) -> pd.DataFrame:
    """Summarise a score column of :func:`cerraseg.evaluation.benchmark.collect` over the seeds of each scenario.

    One row per scenario: its fields without the seed, seeds (how many), value, low, high, paper and baseline (percent;
    of the pixel-wise one of its bands and level), and mark, the sign of those not shown to be above it. With
    several seeds, ``value`` is their mean and ``low`` and ``high`` lie one standard deviation off; with one, they are
    the ends of the 95 % bootstrap interval (NaN where the score has none). ``paper`` is NaN unless all rows are
    comparable.
    """
    groups = table.groupby(GROUP, sort=False)
    result = groups.agg(seeds=("seed", "count"), value=(score, "mean"), spread=(score, "std"))
    for end, sign in (("low", -1), ("high", 1)):
        of_patches = groups[f"{score}_{end}"].first() if f"{score}_{end}" in table else np.nan
        result[end] = (result["value"] + sign * result["spread"]).where(result["seeds"] > 1, of_patches)
    published = table["comparable"].all() and paper_column(score) in table
    marked = not_above_baseline(table) if ABOVE_BASELINE in table else pd.Series(False, table.index)
    result["mark"] = np.where(marked.groupby([table[axis] for axis in GROUP], sort=False).any(), MARK, "")
    result["paper"] = groups[paper_column(score)].first() if published else np.nan
    rows, ground = result.drop(columns="spread").reset_index(), ["level", "modality"]
    baselines = rows[(rows[["model", "recipe"]] == list(BASELINE)).all(axis=1)].groupby(ground)["value"].first()
    return rows.merge(baselines.rename("baseline"), "left", ground)


def write_csv(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table of :mod:`cerraseg.evaluation.benchmark` as CSV, without the paper's columns if not comparable."""
    if "comparable" in table and not table["comparable"].all():
        table = table.drop(columns=[*PAPER, *DIFFERENCE], errors="ignore")
    with atomic_write(path) as part:
        table.to_csv(part, index=False, lineterminator="\n")


def write_markdown(
    table: pd.DataFrame,
    classes: pd.DataFrame,
    pairs: pd.DataFrame,
    path: str | Path,
    dataset: Dataset,
    *,
    title: str,
    source: str,
    note: str = "",
) -> None:
    """Write the tables of :mod:`cerraseg.evaluation.benchmark` as a Markdown page, whose sections name the ``source``.

    A ``note`` on the test part stands above the first.

    The paper's values stand beside the run's only where both are comparable, else in a table of their own. Scenarios
    with several seeds get a table of mean ± standard deviation. Of the pairs, those of the best scenario of each level
    are shown.
    """
    comparable = bool(table["comparable"].all())
    edges = {name: f"F1, {name.rpartition('_')[2]} px" for name in further_scores(table) if name.startswith("edge_f1_")}
    text = load_template(_ASSETS / "benchmark.md.jinja").render(
        title=title,
        source=source,
        note=note,
        patches=_patches(table),
        intervals=describe_intervals(table),
        baseline=beside_baseline(table),
        paper_data=PAPER_DATA,
        comparable=comparable,
        table=lambda shown: markdown_table(list(shown.columns), _cells(shown)),
        scores=_score_table(table, comparable),
        seeds=_seed_table(table),
        rolled_up=list(_rolled_up_tables(table)),
        edges=_further_table(table, edges),
        classes=list(_class_tables(classes)),
        best=_best_table(pairs),
        rolled_up_levels=_levels_to_roll_up(dataset),
        draws=f"{pairs['draws'].max():,}",
        pairs=f"{len(pairs):,}",
        published=None if comparable else _published_table(table),
    )
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")


def describe_intervals(table: pd.DataFrame) -> str:
    """Tell what the intervals of a table of scores are over, and what such intervals cover in simulation."""
    kinds = table[["drawn", "units"]].drop_duplicates().itertuples(index=False, name=None)
    return "; ".join(bootstrap.note(drawn, units) for drawn, units in kinds)


def _patches(table: pd.DataFrame) -> str:
    return " or ".join(f"{count:,}" for count in sorted(table["patches"].unique()))


def _score_table(table: pd.DataFrame, comparable: bool) -> pd.DataFrame:
    beside = ABOVE if ABOVE_BASELINE in table else {}
    headings = {"id": "Scenario", **SCORES, **beside, "epochs": "Epochs"} | (PAPER | DIFFERENCE if comparable else {})
    shown = table[list(headings)].copy()
    for score in (*PAPER_SCORES, *beside):
        shown[score] = _texts(1, table[score], table[f"{score}_low"], table[f"{score}_high"])
    for column in beside:
        shown.loc[not_above_baseline(table), column] += f" {MARK}"
    for column in set(DIFFERENCE) & set(headings):
        shown[column] = [f"{value:+.2f}" if pd.notna(value) else None for value in shown[column]]
    return _named(shown, headings)


def _seed_table(table: pd.DataFrame) -> pd.DataFrame | None:
    several = table[table.groupby(GROUP)["seed"].transform("count") > 1]
    return None if several.empty else _named(_summary(several, SCORES), SCORES)


def _further_table(table: pd.DataFrame, headings: Mapping[str, str]) -> pd.DataFrame | None:
    """Summarise scores that only some scenarios have; None where none has them."""
    rows = table[table[list(headings)].notna().any(axis=1)] if set(headings) <= set(table) else table[:0]
    return None if rows.empty else _named(_summary(rows, headings).drop(columns="seeds"), headings)


def _rolled_up_tables(table: pd.DataFrame) -> Iterator[tuple[object, str, pd.DataFrame]]:
    """Give level, coarser level, and the scores of the scenarios of the one that are scored as the other."""
    scores = [name for name in further_scores(table) if name.startswith("macro_f1_as_")]
    for level, rows in table.groupby("level", sort=False):
        for score in scores:
            coarser = score.removeprefix("macro_f1_as_")
            headings = {"macro_f1": f"Macro F1 ({str(level).upper()})"}
            headings |= {f"{name}_as_{coarser}": f"{SCORES[name]} (as {coarser.upper()})" for name in PAPER_SCORES}
            shown = _further_table(rows[rows[score].notna()], headings)
            if shown is not None:
                yield level, coarser, shown


def _levels_to_roll_up(dataset: Dataset) -> list[tuple[str, str]]:
    """Give each coarser level, and the finer ones that are scored as it, as a text."""
    finer: dict[str, list[str]] = {}
    for level in dataset.levels:
        for coarser in dataset.ancestors(level):
            finer.setdefault(coarser, []).append(level.upper())
    return [(coarser, " and ".join(levels)) for coarser, levels in finer.items()]


def _class_tables(classes: pd.DataFrame) -> Iterator[tuple[object, dict[str, str], bool, pd.DataFrame]]:
    """Give level, names of classes by abbreviation, whether seeds are averaged, and F1 by scenario and class."""
    for level, rows in classes.groupby("level", sort=False):
        names = dict(zip(rows["abbreviation"], rows["name"], strict=True))
        stem = rows["id"].str.rpartition("-")[0]
        several = rows.groupby(stem)["seed"].transform("nunique") > 1
        shown = rows.assign(id=stem.where(several, rows["id"])).pivot_table("f1", "id", "abbreviation", sort=False)
        yield level, names, bool(several.any()), shown[list(names)].rename_axis("Scenario").reset_index()


def _best_table(pairs: pd.DataFrame) -> pd.DataFrame | None:
    """Compare the best scenario of each level with each other one."""
    if pairs.empty:
        return None
    best = pairs.groupby("level")["difference"].transform("idxmax").map(pairs["first"])
    shown = pairs[pairs["first"] == best].sort_values(
        "level", key=lambda level: level.str.startswith("as_"), kind="stable"
    )
    shown["difference"] = _texts(1, shown["difference"], shown["low"], shown["high"])
    for column in ("p", "p_holm"):
        shown[column] = [f"{p:.3f}" if p >= 0.0005 else "< 0.001" for p in shown[column]]
    headings = {"first": "Best", "second": "Other", "difference": "Δ Macro F1", "p": "p", "p_holm": "p (Holm)"}
    return _named(shown[["level", *headings]], headings)


def _published_table(table: pd.DataFrame) -> pd.DataFrame | None:
    published = table.dropna(subset=list(PAPER)).drop_duplicates(PAPER_KEY)
    return None if published.empty else _named(published[[*PAPER_KEY, *PAPER]], PAPER)


def _named(table: pd.DataFrame, headings: Mapping[str, str]) -> pd.DataFrame:
    return table.rename(columns=lambda column: headings.get(column, column.capitalize()))


@np.vectorize(otypes=[object])
def _texts(seeds: int, value: float, low: float, high: float) -> str | None:
    """Format scores of :func:`by_scenario`: ``45.24 ± 0.31`` over seeds, ``45.24 [44.1, 46.3]`` with interval."""
    if pd.isna(value):
        return None
    if pd.isna(low):
        return f"{value:.2f}"
    return f"{value:.2f} ± {(high - low) / 2:.2f}" if seeds > 1 else f"{value:.2f} [{low:.1f}, {high:.1f}]"


def _summary(table: pd.DataFrame, scores: Iterable[str]) -> pd.DataFrame:
    """Give one row per scenario: its fields without the seed, how many seeds, then each score as :func:`_texts`."""
    shown = table.groupby(GROUP, sort=False)["seed"].count().rename("seeds").reset_index()
    for score in scores:
        rows = by_scenario(table, score)
        shown[score] = _texts(rows["seeds"], rows["value"], rows["low"], rows["high"])
    return shown


def _cells(table: pd.DataFrame) -> list[list[str]]:
    """Format floats with two decimals, and an empty cell as a dash."""
    rows = table.astype(object).where(table.notna(), "–").itertuples(index=False)
    return [[f"{value:.2f}" if isinstance(value, float) else str(value) for value in row] for row in rows]


def write_latex(table: pd.DataFrame, path: str | Path, *, title: str, source: str) -> None:
    """Write the table of :func:`cerraseg.evaluation.benchmark.collect` for LaTeX's package booktabs.

    Macro F1 and mIoU of a scenario stand with ± one standard deviation over the seeds or, with one seed, the bootstrap
    interval; the paper's values only where the run is comparable. The caption starts with ``title`` and ``source``.
    """
    comparable = bool(table["comparable"].all())
    headings = {axis: axis.capitalize() for axis in GROUP} | {score: f"{SCORES[score]} (%)" for score in PAPER_SCORES}
    shown = _summary(table, PAPER_SCORES)
    if ABOVE_BASELINE in table:
        headings |= ABOVE
        above = _summary(table, ABOVE)[ABOVE_BASELINE]
        mark = by_scenario(table, ABOVE_BASELINE)["mark"]
        shown[ABOVE_BASELINE] = above.where(mark == "", above.astype(str) + " " + mark)
    if comparable:
        headings |= PAPER
        for score in PAPER_SCORES:
            shown[paper_column(score)] = by_scenario(table, score)["paper"]
    text = load_template(_ASSETS / "benchmark.tex.jinja", escape=_tex).render(
        title=title,
        source=source,
        patches=_patches(table),
        intervals=_tex(describe_intervals(table)),
        baseline=_tex(beside_baseline(table)),
        paper_data=PAPER_DATA,
        comparable=comparable,
        columns="l" * len(GROUP) + "r" * (len(headings) - len(GROUP)),
        row=lambda cells: " & ".join(map(_tex, cells)),
        headings=headings.values(),
        levels=[_cells(rows) for _, rows in shown[list(headings)].groupby("level", sort=False)],
    )
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")


def _tex(value: object) -> str:
    return str(value).translate(_TEX)
