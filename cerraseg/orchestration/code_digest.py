"""Digest of the code that a workflow step reaches.

Snakemake sees a step's script and nothing of the package behind it. Every rule therefore has this digest among its
parameters: it changes when code that the step can run changes, and with nothing else.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = "cerraseg"
SILENT = frozenset(
    {
        "core.content",
        "core.errors",
        "core.files",
        "core.logs",
        "core.memory",
        "core.signals",
        "core.storage",
        "core.versions",
        "orchestration.provenance.crate",
        "orchestration.provenance.lineage",
    }
)
"""Modules that report, protect and record but cannot change a result: editing them reruns nothing."""

_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def package_digest(script: Path, source: Path) -> str:
    """Hash a step's script, the modules of the package in ``source`` that it reaches by import, and their assets.

    Python counts by its syntax tree without docstrings, so that comments, layout and documentation rerun nothing. A
    module's assets are the files in the folder ``assets`` beside it; they count byte by byte. Returns 12 hexadecimal
    digits.
    """
    reached: set[Path] = set()
    todo = {script}
    while todo:
        path = todo.pop()
        reached |= {path, *(file for file in path.parent.glob("assets/*") if file.is_file())}
        todo |= imported(path, source) - reached
    digest = hashlib.sha256()
    for path in sorted(reached, key=lambda path: path.relative_to(source).as_posix()):
        digest.update(_content(path))
    return digest.hexdigest()[:12]


@cache  # most steps reach most modules
def imported(path: Path, source: Path) -> frozenset[Path]:
    """Return the files of the package that a Python file imports, anywhere in it, with their parents' ``__init__``."""
    found: set[Path] = set()
    for name in _imported_names(ast.parse(path.read_bytes())):
        parts = name.split(".")
        if parts[0] != PACKAGE:
            continue
        for depth in range(1, len(parts) + 1):
            stem = source.joinpath(*parts[:depth])
            found.update(file for file in (stem.with_suffix(".py"), stem / "__init__.py") if file.is_file())
    silent = {source.joinpath(PACKAGE, *name.split(".")).with_suffix(".py") for name in SILENT}
    return frozenset(found - silent)


def _imported_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def _content(path: Path) -> bytes:
    content = path.read_bytes()
    return repr(_plain(ast.parse(content))).encode() if path.suffix == ".py" else content


def _plain(node: object) -> object:
    """Return a syntax tree as nested tuples without docstrings, positions and empty fields, alike for all Pythons."""
    if isinstance(node, list):
        return tuple(map(_plain, node))
    if not isinstance(node, ast.AST):
        return node
    fields = dict(ast.iter_fields(node))
    if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
        fields["body"] = node.body[1:]
    return (type(node).__name__, *((name, _plain(value)) for name, value in fields.items() if value not in (None, [])))
