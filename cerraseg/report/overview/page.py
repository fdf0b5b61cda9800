"""The overview page: one HTML file with the scores, histories and maps of a run, which works offline.

Scripts, styles and data are in it, and its Content-Security-Policy lets no other script run. Nothing is loaded but the
images of a basemap, when the reader asks for it.
"""

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from bokeh.resources import Resources
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cerraseg.config.dataset import Dataset
from cerraseg.core.files import atomic_write
from cerraseg.core.taxonomy import Legend
from cerraseg.evaluation import score_files
from cerraseg.evaluation.benchmark import BASELINE, PAPER_DATA, beside_baseline
from cerraseg.report.benchmark.tables import describe_intervals
from cerraseg.report.charts import modality_colours
from cerraseg.report.figures import hex_colour
from cerraseg.report.overview.basemap import CREDIT, DEEPEST, HOST, TILES
from cerraseg.report.overview.figures import figure_document
from cerraseg.report.overview.maps import View, pack_maps
from cerraseg.report.overview.names import explain, split_id
from cerraseg.report.overview.scores import (
    HISTORY_LINES,
    Scored,
    benchmark_columns,
    benchmark_rows,
    headlines,
    rank,
    scenario_scores,
)

ASSETS = Path(__file__).with_name("assets")
"""Folder of the page's template, style and scripts."""

SCRIPTS = ("basics.js", "scores.js", "history.js", "maps.js", "basemap.js", "moving.js", "start.js")


def write_overview(
    path: str | Path,
    *,
    title: str,
    source: str,
    dataset: Dataset,
    benchmark: str | Path,
    scenarios: Mapping[str, Scored],
    views: Sequence[View] = (),
    facts: Mapping[str, Any] | None = None,
    areas_note: str = "",
) -> None:
    """Write the page of a run; the same input gives the same bytes.

    Args:
        path: HTML file to write.
        title: heading of the page.
        source: name of the data source, which stands at every score and map.
        dataset: of the scenarios.
        benchmark: CSV of :func:`cerraseg.evaluation.benchmark.collect`.
        scenarios: id → files of each scenario of the benchmark.
        views: maps to show.
        facts: headed texts, numbers, lists or further mappings; texts of several lines are folded.
        areas_note: what the areas assume.
    """
    path = Path(path)
    table = rank(pd.read_csv(benchmark))
    colours, meanings = modality_colours(dataset, table["modality"]), explain(table, dataset)
    names = {row["id"]: split_id(row, meanings) for _, row in table.iterrows()}
    maps = pack_maps(views, path.parent, dataset)
    script = '"use strict";\n{\n' + "".join(map(_asset, SCRIPTS)) + "}\n"
    bokeh = "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)  # without widgets, tables and MathJax
    columns = benchmark_columns(table, colours)
    best = headlines(table)
    text = _template().render(
        title=title,
        source=source,
        areas_note=areas_note,
        modalities=list(colours.items()),
        paper=PAPER_DATA if table["comparable"].all() else "",
        intervals=describe_intervals(table),
        baseline=beside_baseline(table),
        best=best,
        compared=int((table["recipe"] != BASELINE[1]).sum()) or len(table),
        sizes={level: len(dataset.classes(level)) for level in table["level"]},
        names=names,
        meanings=meanings,
        table=benchmark_rows(table),
        levels=table["level"].tolist(),
        benchmark_file=_link(benchmark, path.parent),
        calibrations={id_: score_files.read_metrics(scenarios[id_].scores)["calibration"] for id_ in table["id"]},
        maps=maps,
        reduced=any(max(view["full"]) > maps["side"] for view in maps["views"]),
        facts=facts or {},
        credit=CREDIT,
        data={
            "source": source,
            "first": best[0]["id"],
            "names": names,
            "benchmark": columns,
            "lines": HISTORY_LINES,
            "scenarios": {id_: scenario_scores(scenarios[id_], path.parent) for id_ in table["id"]},
            "levels": {
                level: _classes(dataset.classes(level))
                for level in sorted({*table["level"], *(view.level for view in views)})
            },
            "maps": maps,
            "basemap": {"url": TILES, "deepest": DEEPEST},
        },
        figures=figure_document(),
        bokeh=bokeh,
        script=script,
        style=_asset("page.css"),
        policy=" ".join(map(_csp_hash, (bokeh, script))),
        tiles=HOST,
    )
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def _link(file: str | Path, folder: Path) -> str:
    return "./" + quote(Path(os.path.relpath(file, folder)).as_posix())


def _template() -> Any:
    environment = Environment(
        loader=FileSystemLoader(ASSETS), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    json_options = {"allow_nan": False, "ensure_ascii": False, "separators": (",", ":")}
    environment.policies["json.dumps_kwargs"] = json_options  # of the filter tojson, which keeps markup out
    return environment.get_template("page.html.jinja")


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _csp_hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _classes(legend: Legend) -> list[dict[str, str]]:
    return [{"name": entry.name, "colour": hex_colour(entry.colour)} for entry in legend]
