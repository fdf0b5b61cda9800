"""What a user's shell tells libraries and must not decide a result: taken out before the first of them is loaded."""

import os
import sys
from pathlib import Path

_FOLDERS = ("GDAL_DATA", "GDAL_DRIVER_PATH", "PROJ_DATA", "PROJ_LIB")
"""Where GDAL and PROJ look for their own files: with those of another installation no coordinate system is known."""


def leave() -> None:
    """Forget where another installation of GDAL and PROJ keeps its files; folders of this Python's prefix may stay.

    And forget the window system of figures, which matplotlib refuses to load with if it does not know it.
    """
    for name in _FOLDERS:
        if not Path(os.environ.get(name, sys.prefix)).is_relative_to(sys.prefix):
            del os.environ[name]
    os.environ.pop("MPLBACKEND", None)
