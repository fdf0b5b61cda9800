"""The documentation site: `make site` builds it, without the network, and warnings are errors."""

import ast
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
# The notebook's kernel is a process of its own; docs has example_model.py.
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "docs"), os.environ.get("PYTHONPATH", "")])

from cerraseg.core.versions import __version__  # noqa: E402

project = "CerraSeg"
author = copyright = "The CerraSeg developers"
release = version = __version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["images"]
nitpicky = True
# Types of libraries whose pages are elsewhere, and names of ours that are no part of the public interface.
nitpick_ignore_regex = [("py:.*", r"(?!cerraseg\.).*"), ("py:.*", r"cerraseg\.(config|core|evaluation|geo|models)\..*")]

html_theme = "furo"
html_title = "CerraSeg"
html_static_path = ["static"]
html_js_files = ["access.js"]
html_show_sphinx = False
myst_heading_anchors = 4
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True

nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_output_stderr = "remove"  # progress bars

INCLUDED = {
    "config/README.md": "configuration.md",
    "profiles/slurm/README.md": "slurm.md",
    "reference/README.md": "published.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
"""File of the repository → the page that includes it."""

_COMMANDS = "<!-- commands: written by docs/conf.py from the command itself -->"


def link_pages(text: str) -> str:
    """Lead links to files that are pages here to these pages, and make links of their names that stand as code."""
    text = re.sub(r"\]\((?:\.\./)?docs/([\w-]+\.(?:md|ipynb))", r"](\1", text)
    pages = "|".join(re.escape(path.name) for path in sorted((ROOT / "docs").glob("*.md")))
    text = re.sub(rf"(?<![\[`])`docs/({pages})`(?!\])", r"[`\1`](\1)", text)
    for file, page in INCLUDED.items():
        text = re.sub(rf"\]\((?:\.\./)?{re.escape(file)}", f"]({page}", text)
        text = re.sub(rf"(?<![\[`])`{re.escape(file)}`(?!\])", f"[`{file}`]({page})", text)
    return text


def commands() -> str:
    """Return the reference of the command `cerraseg`, as typer writes it."""
    call = [sys.executable, "-m", "typer", "cerraseg.cli", "utils", "docs", "--name", "cerraseg"]
    written = subprocess.run(call, cwd=ROOT, check=True, capture_output=True, text=True, encoding="utf-8").stdout
    return written[written.index("## ") :]


def _on_read(_: Sphinx, name: str, content: list[str]) -> None:
    content[0] = content[0].replace(_COMMANDS, commands()) if _COMMANDS in content[0] else content[0]
    if not name.endswith("ipynb"):
        content[0] = link_pages(content[0])


def _on_include(_: Sphinx, path: Path, name: str, content: list[str]) -> None:
    content[0] = link_pages(content[0])


def _field_comments(owner: type) -> dict[str, str]:
    """Return field → the comment behind it, of a dataclass."""
    lines = inspect.getsource(owner).splitlines()
    fields = (node for node in ast.walk(ast.parse(inspect.getsource(owner))) if isinstance(node, ast.AnnAssign))
    found = {}
    for node in fields:
        comment = lines[(node.end_lineno or 1) - 1][node.end_col_offset :].partition("# ")[2]
        if isinstance(node.target, ast.Name) and comment:
            found[node.target.id] = comment[0].upper() + comment[1:] + "."
    return found


def _on_docstring(_: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Give fields of dataclasses, which are documented by comments, these as docstrings."""
    if what == "attribute" and not any(lines):
        module, owner, field = name.rsplit(".", 2)
        comments = _field_comments(getattr(sys.modules[module], owner))
        lines[:] = [comments[field]] if field in comments else []


def _on_signature(
    _: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Call numpy's ArrayLike by its name, which autodoc writes out."""
    return re.sub(r": [^,]*_Buffer \|.*?(?=, \*)", ": ArrayLike", signature) if signature else signature, returns


def setup(app: Sphinx) -> None:
    """Connect what is written as the site is built."""
    for plain in ("mermaid", "csv"):  # drawing the first would need the network or a browser
        app.add_lexer(plain, TextLexer)
    app.connect("source-read", _on_read)
    app.connect("include-read", _on_include)
    app.connect("autodoc-process-docstring", _on_docstring)
    app.connect("autodoc-process-signature", _on_signature)
