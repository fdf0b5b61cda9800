"""Text of model cards: tables and cells in Markdown."""

import re
from collections.abc import Iterable, Sequence


def table(headings: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table, with columns of numbers to the right."""
    cells = [[plain(cell) for cell in row] for row in rows]
    columns = list(zip(*cells, strict=True))
    rules = ["--:" if all(re.fullmatch(r"[-\d.,]+|–", cell) for cell in column) else ":--" for column in columns]
    return "\n".join("| " + " | ".join(row) + " |" for row in [headings, rules, *cells])


def plain(value: object) -> str:
    """A value as text that stays within its line and its table cell."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;").replace("](", "]\\(")
