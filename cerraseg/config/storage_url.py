"""Where a search keeps its study: a URL whose environment variables only the step that opens it expands."""

import os
from collections.abc import Mapping
from typing import Any

from cerraseg.core.errors import ConfigError


def storage_of(config: Mapping[str, Any]) -> str:
    """Return the URL in a complete configuration, or that of a file in the results."""
    return str(config["tune"]["storage"] or f"sqlite:///{config['results']}/tune/study.db")


def expand_url(url: str) -> str:
    """Fill environment variables (``$NAME``) into the URL, in the process that opens it.

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
