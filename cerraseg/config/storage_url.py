"""Where a search keeps its study: a URL whose environment variables only the step that opens it expands."""

import os
from collections.abc import Mapping
from typing import Any

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
            f"tune.storage: {url}: not a URL; expected one such as sqlite:///study.db, "
            "journal:////mnt/share/study.log or postgresql://user:$PASSWORD@host/database"
        )
    if "$" in filled:
        raise ConfigError(f"tune.storage: {url}: an environment variable is not set; export it, or write a $ as %24")
    return filled
