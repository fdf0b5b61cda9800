"""Where a search keeps its study, as a URL that may hold a password: expanded late, shown masked."""

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from cerraseg.core.errors import ConfigError


def storage_of(config: Mapping[str, Any]) -> str:
    """The URL that a complete configuration names, or that of its own file."""
    return str(config["tune"]["storage"] or f"sqlite:///{config['results']}/tune/study.db")


def expanded(url: str) -> str:
    """The URL with environment variables (``$NAME``) filled in, as only the process that opens it should hold it.

    Raises:
        ConfigError: if it is no URL or a variable is not set.
    """
    filled = os.path.expandvars(url)
    if "://" not in filled:
        raise ConfigError(
            f"tune.storage: {masked(filled)}: not a URL; expected one such as sqlite:///study.db, "
            "journal:////mnt/share/study.log or postgresql://user:$PASSWORD@host/database"
        )
    if "$" in filled:
        raise ConfigError(
            f"tune.storage: {masked(url)}: an environment variable is not set; export it, or write a $ as %24"
        )
    return filled


def masked(url: str) -> str:
    """The URL without user, password and query, for logs, files and errors."""
    if "://" not in url:
        return "***" if "@" in url else url
    try:
        parts = urlsplit(url)
    except ValueError:
        return "***"
    place = f"***@{parts.netloc.rpartition('@')[2]}" if "@" in parts.netloc else parts.netloc
    query = "?***" if parts.query else ""
    return f"{parts.scheme}://{place}{parts.path}{query}"
