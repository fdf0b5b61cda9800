"""What a user's shell tells libraries and must not decide a result: taken out before the first of them is loaded."""

import locale
import os
import sys
from contextlib import suppress
from pathlib import Path

_FOLDERS = ("GDAL_DATA", "GDAL_DRIVER_PATH", "PROJ_DATA", "PROJ_LIB")
"""Where GDAL and PROJ look for their own files: with those of another installation no coordinate system is known."""


def sanitise() -> None:
    """Forget where another installation of GDAL and PROJ keeps its files; folders of this Python's prefix may stay.

    And forget the window system of figures, which matplotlib refuses to load with if it does not know it, and the
    letters of the user's language: in Turkish, where the capital of i is no I, GDAL misses its own options.
    """
    for name in _FOLDERS:
        if not Path(os.environ.get(name, sys.prefix)).is_relative_to(sys.prefix):
            del os.environ[name]
    os.environ.pop("MPLBACKEND", None)
    with suppress(locale.Error):  # not every system has it
        locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
