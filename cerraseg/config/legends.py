"""Legends from files: a CSV table, or a QGIS style of a raster or a vector layer."""

import csv
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cerraseg.config.suggestions import nearest
from cerraseg.core.errors import ConfigError

COLUMNS = ("id", "name", "abbreviation", "colour", "parent")
"""Columns of a legend in CSV; the last three may be left out."""


def read_legend(path: Path, key: str) -> list[dict[str, Any]]:
    """Read the classes of a level, in the file's order, as the values of a description, not checked further.

    ``key`` of the configuration is for messages. An id that is no whole number stays text.

    Raises:
        ConfigError: if the file cannot be read, or is neither CSV nor a style of QGIS.
    """
    where = f"{key}: {path}"
    readers = {".csv": _table, ".qml": _style}
    if path.suffix.lower() not in readers:
        raise ConfigError(f"{where}: neither CSV nor a style of QGIS; expected .csv or .qml: correct the path")
    try:
        return list(readers[path.suffix.lower()](where, path.read_text(encoding="utf-8-sig")))
    except (OSError, UnicodeDecodeError, ET.ParseError) as error:
        raise ConfigError(f"{where}: cannot be read ({error}); expected UTF-8 text: save it anew") from None


def _table(where: str, text: str) -> Iterator[dict[str, Any]]:
    """Read CSV, separated by commas or, as spreadsheets of many countries write it, by semicolons."""
    lines = text.splitlines()
    rows = csv.DictReader(lines, delimiter=";" if lines and ";" in lines[0] else ",", skipinitialspace=True)
    for column in rows.fieldnames or ():
        if column not in COLUMNS:
            raise ConfigError(f"{where}: unknown column {column!r}{nearest(column, COLUMNS)}")
    for row in rows:
        if None in row:
            raise ConfigError(
                f"{where}, line {rows.line_num}: more cells than columns; put names with commas in quotes"
            )
        filled = {column: cell.strip() for column, cell in row.items() if cell and cell.strip()}
        if filled:
            yield filled | {key: _number(filled[key]) for key in ("id", "parent") if key in filled}


def _style(where: str, text: str) -> Iterator[dict[str, Any]]:
    """Read a QGIS style: the palette of a raster, or the categories of a vector layer."""
    root = ET.fromstring(text)  # noqa: S314 - it fetches no entity, and expat limits what they expand to
    palette = root.findall(".//rasterrenderer[@type='paletted']//paletteEntry")
    renderer = root.find(".//renderer-v2[@type='categorizedSymbol']")
    if not palette and renderer is None:
        raise ConfigError(
            f"{where}: neither a paletted raster style nor a categorised vector style; expected one of them: choose "
            "it in QGIS under Symbology, then Style > Save Style"
        )
    for entry in palette:
        yield _class(entry, entry.get("color"))
    if renderer is not None:
        colours = {symbol.get("name"): _symbol_colour(symbol) for symbol in renderer.findall("./symbols/symbol")}
        for entry in renderer.findall("./categories/category"):
            if entry.get("value") not in ("", "NULL"):  # QGIS's category of all other values
                yield _class(entry, colours.get(entry.get("symbol")))


def _class(entry: ET.Element, colour: str | None) -> dict[str, Any]:
    """Return a class; a label that is left empty in QGIS stands for the value."""
    value = entry.get("value", "")
    found = {"id": _number(value), "name": entry.get("label", "").strip() or value}
    return found | ({"colour": colour} if colour else {})


def _symbol_colour(symbol: ET.Element) -> str | None:
    """Return the first fill of a symbol as #rrggbb; QGIS writes "r,g,b,a", since 3.34 with more behind it."""
    for part in symbol.iter():
        if "color" in (part.get("name"), part.get("k")):
            red, green, blue = (part.get("value") or part.get("v") or "").split(",")[:3]
            return f"#{int(red):02x}{int(green):02x}{int(blue):02x}"
    return None


def _number(text: str) -> int | str:
    return int(float(text)) if re.fullmatch(r"-?\d{1,9}(\.0+)?", text) else text
