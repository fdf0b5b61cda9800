"""The overview page: one HTML file of a run with its scores, courses and maps to look into, which works offline.

The page loads nothing: scripts, styles and data lie in it, and its Content-Security-Policy lets no other script run.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import pandas as pd
from bokeh.resources import Resources

from cerraseg.core.errors import DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.taxonomy import LEVELS
from cerraseg.evaluation.benchmark import PAPER_DATA
from cerraseg.report.charts import MODALITY_COLOURS
from cerraseg.report.overview import charts, scores
from cerraseg.report.overview import maps as overview_maps
from cerraseg.report.overview.scores import COURSES, Scored
from cerraseg.report.overview.views import View

PARTS = Path(__file__).with_name("assets")
"""Folder of the page's template, style and scripts."""

SCRIPTS = ("basics.js", "scores.js", "maps.js", "moving.js", "start.js")


def write(
    path: str | Path,
    *,
    title: str,
    source: str,
    benchmark: str | Path,
    scenarios: Mapping[str, Scored],
    views: Sequence[View] = (),
    facts: Mapping[str, Any] | None = None,
    areas_note: str = "",
    budget: int = overview_maps.BUDGET,
) -> None:
    """Write the page of a run to ``path``; the same input gives the same bytes.

    ``title`` heads it and the data's ``source`` stands at every score and map. ``benchmark`` is the CSV of
    :func:`benchmark.collect`; ``scenarios`` maps the ids in it to their files. ``views`` are the maps, within
    a ``budget`` of characters (:func:`maps.pack`), ``areas_note`` says what their areas assume.
    ``facts`` are headed texts, numbers, lists or further mappings; what has several lines is folded.

    Raises :class:`DataError` if a file cannot be read or ``scenarios`` are not those of the benchmark.
    """
    path = Path(path)
    table = _table(benchmark, scenarios)
    maps = overview_maps.pack(views, path.parent, budget)
    texts = {"title": title, "source": source, "areas_note": areas_note}
    parts = {name: escape(text) for name, text in texts.items()} | {
        "benchmark": scores.benchmark_table(table),
        "modalities": _modalities(table),
        "maps_hidden": "" if views else "hidden",
        "no_maps_hidden": "hidden" if views else "",
        "reduced": _reduced(maps),
        "facts": _facts(facts or {}),
        "data": _json(_data(source, table, scenarios, views) | {"maps": maps}),
        "figures": _json(charts.document()),
    }
    with atomic_write(path) as part:
        part.write_text(_page(parts), encoding="utf-8", newline="\n")


def _table(benchmark: str | Path, scenarios: Mapping[str, Scored]) -> pd.DataFrame:
    try:
        table = pd.read_csv(benchmark)
        ids = set(table["id"])
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{benchmark} cannot be read ({error!r}); expected the benchmark's CSV: make it again."
        ) from error
    if ids != set(scenarios):
        raise DataError(
            f"{benchmark} and the scenarios differ in {sorted(ids ^ set(scenarios))}; expected the same ids in both: "
            "make the benchmark again."
        )
    return table


def _data(source: str, table: pd.DataFrame, scenarios: Mapping[str, Scored], views: Sequence[View]) -> dict[str, Any]:
    levels = {*table["level"], *(view.level for view in views)}
    return {
        "source": source,
        "benchmark": scores.benchmark(table),
        "courses": COURSES,
        "scenarios": {id_: scores.scenario(scenarios[id_]) for id_ in table["id"]},
        "levels": {level: [_legend(entry) for entry in LEVELS[level]] for level in sorted(levels)},
    }


def _legend(entry: Any) -> dict[str, str]:
    colour = "#{:02x}{:02x}{:02x}".format(*entry.colour)
    return {"abbreviation": entry.abbreviation, "name": entry.name, "colour": colour}


def _modalities(table: pd.DataFrame) -> str:
    swatches = [
        f'<li><span class="swatch" style="background:{colour}"></span>{name}</li>'
        for name, colour in MODALITY_COLOURS.items()
        if name in set(table["modality"])
    ]
    if table["comparable"].all():
        swatches.append(f"<li>◇ paper ({escape(PAPER_DATA)})</li>")
    return "".join(swatches)


def _reduced(maps: Mapping[str, Any]) -> str:
    side = maps["side"]
    if all(max(view["full"]) <= side for view in maps["views"]):
        return "Maps are shown at full resolution; confidence in steps of "
    return f"Maps are reduced to {side} pixels on the longer side; confidence to steps of "


def _facts(facts: Mapping[str, Any]) -> str:
    rows = "".join(f"<dt>{escape(str(name))}</dt><dd>{_fact(value)}</dd>" for name, value in facts.items())
    return f"<dl>{rows}</dl>"


def _fact(value: Any) -> str:
    if isinstance(value, Mapping):
        return _facts(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_fact, value))
    text = escape(str(value))
    return f"<details><summary>show</summary><pre>{text}</pre></details>" if "\n" in text else text


def _json(content: Any) -> str:
    """JSON that a script element can hold, whatever its texts say."""
    return json.dumps(content, allow_nan=False, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _page(parts: Mapping[str, str]) -> str:
    scripts = {"bokeh": _bokeh(), "script": f'"use strict";\n{{\n{"".join(map(_part, SCRIPTS))}}}\n'}
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts.values()]
    policy = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return Template(_part("page.html")).substitute(parts, **scripts, policy=policy, style=_part("page.css"))


def _part(name: str) -> str:
    return (PARTS / name).read_text(encoding="utf-8")


def _bokeh() -> str:
    """The core of BokehJS, without widgets, tables and MathJax."""
    resources = Resources(mode="inline", components=["bokeh"])
    return "\n".join(resources.js_raw)
