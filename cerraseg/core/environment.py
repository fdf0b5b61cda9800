"""Settle environment variables before the libraries that read them are loaded."""

import locale
import os
import sys
from contextlib import suppress
from pathlib import Path


def sanitise() -> None:
    """Remove folders of another installation of GDAL and PROJ, and matplotlib's window system; set the locale to C.

    With such folders no coordinate system is known. In a Turkish locale GDAL does not find its own options. Torch's
    threads wait without spinning, which on a busy machine takes most of a CPU's time.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    for name in ("GDAL_DATA", "GDAL_DRIVER_PATH", "PROJ_DATA", "PROJ_LIB"):
        if not Path(os.environ.get(name, sys.prefix)).is_relative_to(sys.prefix):
            del os.environ[name]
    os.environ.pop("MPLBACKEND", None)
    with suppress(locale.Error):  # not every system has it
        locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
