"""Markdown in which values of any content stay within their line and their table cell."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template


def markdown_table(headings: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """Format a Markdown table; columns without a letter in their cells, such as numbers, are aligned to the right."""
    cells = [[markdown_text(value) for value in row] for row in rows]
    columns = zip(*cells, strict=True)
    rules = [":--" if any(map(str.isalpha, "".join(column))) else "--:" for column in columns]
    return "\n".join("| " + " | ".join(row) + " |" for row in [headings, rules, *cells])


def markdown_text(value: object) -> str:
    """Format a value so that it stays within its line and its table cell, and starts neither HTML nor a link."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(markdown_text, value))
    text = " ".join(str(value).split()).replace("|", "\\|").replace("](", "]\\(")
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)


def load_template(path: Path, escape: Callable[[object], str] = markdown_text) -> Template:
    """Load a Jinja2 template that writes every value, but for those after ``| safe``, by ``escape``."""
    environment = Environment(  # noqa: S701 (escaped, but not for HTML)
        loader=FileSystemLoader(path.parent),
        finalize=lambda value: value if hasattr(value, "__html__") else escape(value),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(path.name)
