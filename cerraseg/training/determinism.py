"""How far a training's operations are held to their deterministic forms: ``off``, ``warn`` or ``strict``."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from cerraseg.core.errors import ConfigError

Determinism = Literal["off", "warn", "strict"]

FLAGS: dict[Determinism, dict[str, Any]] = {
    "off": {"deterministic": False, "benchmark": True},
    "warn": {"deterministic": "warn", "benchmark": False},
    "strict": {"deterministic": True, "benchmark": False},
}
"""Level → what Lightning's trainer is told; but for off, it sets CUBLAS_WORKSPACE_CONFIG, before the first product."""


@contextmanager
def named(level: Determinism) -> Iterator[None]:
    """Say what can be done about an operation that ``strict`` refuses.

    Raises:
        ConfigError: instead of torch's error.
    """
    try:
        yield
    except RuntimeError as error:
        found = re.match(r"(\S+) does not have a deterministic implementation", str(error))
        if level != "strict" or not found:
            raise
        raise ConfigError(
            f"training.determinism is strict, but {found[1]} has no deterministic form on this device; expected one "
            "for every operation: set training.determinism to warn, which takes the form there is, or change the model"
        ) from None
