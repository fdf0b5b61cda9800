"""Errors that a user can act on. Each message says what is wrong, what was expected and the remedy."""

from collections import Counter


class CerraSegError(Exception):
    """Base of every error that CerraSeg raises on purpose; shown without a traceback."""


class ConfigError(CerraSegError):
    """The configuration asks for something that does not exist or contradicts itself."""


class DataError(CerraSegError):
    """Input files are missing, unreadable or not what the pipeline can use."""


class LegendError(DataError):
    """A mask holds values that are no classes of its ``level``; ``values``, value → pixels, is all that it holds."""

    level: str
    values: Counter[float]


class DownloadError(CerraSegError):
    """A download could not start, did not finish or does not match what was announced."""


class StorageError(CerraSegError, OSError):
    """A disk or folder does not take what is written to it. Still an ``OSError``, with its ``errno``."""


class MemoryShortage(CerraSegError):
    """There is less memory than a setting makes the step need."""
