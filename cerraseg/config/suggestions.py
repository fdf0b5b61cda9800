"""Suggestions for misspelt names, and paths with environment variables."""

import difflib
import os
from collections.abc import Iterable

from cerraseg.core.errors import ConfigError


def nearest(word: str, known: Iterable[object]) -> str:
    """End a message on an unknown ``word`` with the nearest name and what is allowed."""
    names = [str(name) for name in known]
    return f"{meant(word, names) or ';'} allowed: {', '.join(names)}"


def meant(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` with the name nearest to ``word``, empty where none is near."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def expand_path(key: str, path: str) -> str:
    """Fill environment variables into a path of the configuration.

    Raises:
        ConfigError: naming ``key``, if one is not set or the path holds braces.
    """
    found = os.path.expandvars(path)
    if "$" in found:
        raise ConfigError(f"{key}: {found}: the environment variable is not set; export it, or give the path itself")
    if set("{}") & set(found):
        raise ConfigError(f"{key}: {found}: braces, which Snakemake would fill in; rename it, or link to it")
    return found
