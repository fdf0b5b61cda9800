"""Legends from files: a CSV table, QGIS styles of rasters and vectors, and the colour map that QGIS exports."""

import csv
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn
from xml.parsers import expat

from cerraseg.config.suggestions import nearest
from cerraseg.core.errors import ConfigError

COLUMNS = ("id", "name", "abbreviation", "colour", "parent")
"""Columns of a legend in CSV; the last three may be left out."""

_COLOUR_LINE = re.compile(r"\s*(\S+?)[\s,]+(\d+)[\s,]+(\d+)[\s,]+(\d+)[\s,]+(\d+)[\s,]+(.*\S)\s*")


def read_legend(path: Path, key: str) -> list[dict[str, Any]]:
    """Read the classes of a level, in the file's order, as the values of a description.

    Args:
        path: a .csv, .qml, .txt or .clr file.
        key: of the configuration, for messages.

    Returns:
        Classes as far as the file gives them: they are not checked further. An id that is no whole number stays text.

    Raises:
        ConfigError: if the file cannot be read, or is none of the formats.
    """
    reader = _READERS.get(path.suffix.lower())
    where = f"{key}: {path}"
    if reader is None or not path.is_file():
        found = "no such file" if reader else "neither CSV nor a style of QGIS"
        raise ConfigError(f"{where}: {found}; expected a legend as a file of {', '.join(_READERS)}: correct the path")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: cannot be read ({error}); expected UTF-8 text: save it anew") from None
    classes = list(reader(where, text))
    if not classes:
        raise ConfigError(f"{where}: holds no class; expected at least one: export the legend again")
    return classes


def _table(where: str, text: str) -> Iterator[dict[str, Any]]:
    """Read CSV, separated by commas or, as spreadsheets of many countries write it, by semicolons."""
    lines = text.splitlines()
    separator = ";" if lines and ";" in lines[0] else ","
    rows = csv.DictReader(lines, delimiter=separator, skipinitialspace=True)
    columns = [column.strip() for column in rows.fieldnames or ()]
    rows.fieldnames = columns
    for column in columns:
        if column not in COLUMNS:
            raise ConfigError(f"{where}: unknown column {column!r}{nearest(column, COLUMNS)}")
    for column in ("id", "name"):
        if column not in columns:
            raise ConfigError(f"{where}: no column {column!r}; expected a first line such as {','.join(COLUMNS)}")
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
    root = _xml(where, text)
    if palette := root.findall(".//rasterrenderer[@type='paletted']//paletteEntry"):
        for entry in palette:
            yield _class(entry.get("value", ""), entry.get("label", ""), entry.get("color", ""))
        return
    renderer = root.find(".//renderer-v2[@type='categorizedSymbol']")
    if renderer is None:
        raise ConfigError(
            f"{where}: neither a paletted raster style nor a categorised vector style; expected one of them: choose "
            "it in QGIS under Symbology, then Style > Save Style"
        )
    colours = {symbol.get("name"): _symbol_colour(symbol) for symbol in renderer.findall("./symbols/symbol")}
    for entry in renderer.findall("./categories/category"):
        value = entry.get("value", "")
        if value not in ("", "NULL"):  # QGIS's category of all other values
            yield _class(value, entry.get("label", ""), colours.get(entry.get("symbol"), ""))


def _xml(where: str, text: str) -> ET.Element:
    """Parse XML without entities of its own, which may expand without end or read files."""

    def refuse(*_: Any) -> NoReturn:
        raise ConfigError(f"{where}: declares entities; expected a style as QGIS writes it: save it anew")

    checker = expat.ParserCreate()
    checker.EntityDeclHandler = refuse
    try:
        checker.Parse(text, True)
        return ET.fromstring(text)  # noqa: S314 - the checker refused entities
    except (expat.ExpatError, ET.ParseError, ValueError) as error:
        raise ConfigError(f"{where}: no sound XML ({error}); expected a style as QGIS writes it") from None


def _symbol_colour(symbol: ET.Element) -> str:
    """Return the fill of a symbol's first layer as #rrggbb; QGIS writes "r,g,b,a", since 3.34 with more behind it."""
    for name in ("color", "line_color"):
        for element, value in ((".//Option[@name='{}']", "value"), (".//prop[@k='{}']", "v")):
            found = symbol.find(element.format(name))
            if found is not None:
                return _hex(found.get(value, "").split(","))
    return ""


def _colour_map(where: str, text: str) -> Iterator[dict[str, Any]]:
    """Read lines "value red green blue alpha label", apart by spaces or commas."""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith(("#", "INTERPOLATION:")):
            continue
        parts = _COLOUR_LINE.fullmatch(line)
        if parts is None:
            raise ConfigError(f"{where}, line {number}: {line!r:.80}; expected: value red green blue alpha label")
        value, red, green, blue, _, label = parts.groups()
        yield _class(value, label, _hex([red, green, blue]))


def _class(value: str, label: str, colour: str) -> dict[str, Any]:
    """Return a class; a label that is left empty in QGIS stands for the value."""
    found = {"id": _number(value), "name": label.strip() or value}
    return found | ({"colour": colour} if colour else {})


def _number(text: str) -> int | str:
    return int(float(text)) if re.fullmatch(r"-?\d{1,9}(\.0+)?", text) else text


def _hex(parts: list[str]) -> str:
    return "#" + "".join(f"{int(part):02x}" for part in parts[:3])


_READERS: dict[str, Callable[[str, str], Iterator[dict[str, Any]]]] = {
    ".csv": _table,
    ".qml": _style,
    ".txt": _colour_map,
    ".clr": _colour_map,
}
