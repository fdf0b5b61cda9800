"""Names and paths of a configuration: suggestions for misspelt ones, environment variables filled in."""

import difflib
import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from cerraseg.core.errors import ConfigError


def nearest(word: str, known: Iterable[object]) -> str:
    """End a message on an unknown ``word`` with the nearest name and what is allowed."""
    names = [str(name) for name in known]
    return f"{meant(word, names) or ';'} allowed: {', '.join(names)}"


def check_known(where: str, name: str, known: Collection[str]) -> None:
    """Raise :class:`ConfigError` unless a ``name`` at the path ``where`` is a known one."""
    if name not in known:
        raise ConfigError(f"{where}: {name!r} is not allowed{nearest(name, known)}")


def meant(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` with the name nearest to ``word``, empty where none is near."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def expand_path(key: str, path: str) -> str:
    """Fill environment variables into a path; raise :class:`ConfigError` if one is not set or it holds braces."""
    found = os.path.expandvars(path)
    if "$" in found:
        raise ConfigError(f"{key}: {found}: the environment variable is not set; export it, or give the path itself")
    if set("{}") & set(found):
        raise ConfigError(f"{key}: {found}: braces, which Snakemake would fill in; rename it, or link to it")
    return found


def expand_file(key: str, path: str, what: str) -> str:
    """Fill environment variables into the path of a file, ``what``, that must exist; raises as :func:`expand_path`."""
    found = expand_path(key, path)
    if not Path(found).is_file():
        raise ConfigError(f"{key}: {found}: no such file; expected {what}")
    return found


def check_name(where: str, name: str, taken: Collection[str]) -> None:
    """Raise :class:`ConfigError` unless a user's name for something of his own is new and goes into a scenario's id."""
    if name in taken or not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise ConfigError(f"{where}: expected a new name of small letters, digits and _; rename it")
