"""Errors that a user can act on. Each message says what is wrong, what was expected and the remedy."""

from collections import Counter
from collections.abc import Iterable
from typing import Any


class CerraSegError(Exception):
    """Base of every error that CerraSeg raises on purpose; shown without a traceback."""


class ConfigError(CerraSegError):
    """The configuration asks for something that does not exist or contradicts itself."""


class DataError(CerraSegError):
    """Input files are missing, unreadable or not what the pipeline can use."""


class LegendError(DataError):
    """A mask holds values that are no classes of its level; ``values``, value → pixels, is all that it holds."""

    def __init__(self, message: str, level: str, values: Counter[float]) -> None:
        super().__init__(message)
        self.level, self.values = level, values

    @classmethod
    def of(
        cls, where: str, level: str, known: Iterable[float], ignored: Iterable[int], foreign: Any, all_: Any
    ) -> "LegendError":
        """Make one of the ``foreign`` and all labelled pixels of a mask, two arrays; ``where`` names it."""
        counts = Counter(foreign.tolist()).most_common(5)
        found = ", ".join(f"{value:g} ({count} pixels)" for value, count in counts)
        expected, ignore = (", ".join(f"{value:g}" for value in values) for values in (known, ignored))
        message = f"{where}: values {found}; expected those of {level}, {expected}, or {ignore} to ignore"
        return cls(message, level, Counter(all_.tolist()))

    def __reduce__(self) -> tuple[Any, ...]:
        return LegendError, (str(self), self.level, self.values)


class DownloadError(CerraSegError):
    """A download could not start, did not finish or does not match what was announced."""


class StorageError(CerraSegError, OSError):
    """A disk or folder does not take what is written to it. Still an ``OSError``, with its ``errno``."""


class MemoryShortage(CerraSegError):
    """There is less memory than a setting makes the step need."""
