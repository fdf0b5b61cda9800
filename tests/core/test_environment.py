"""Variables of a shell for other installations, windows and languages change nothing."""

import locale
import os
import sys

from cerraseg.core.environment import sanitise


def test_other_installations_and_the_window_system_are_removed_and_this_installation_stays(monkeypatch, tmp_path):
    for name in ("GDAL_DRIVER_PATH", "PROJ_DATA", "PROJ_LIB", "MPLBACKEND"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("GDAL_DATA", f"{sys.prefix}/share/gdal")
    sanitise()
    assert not {"GDAL_DRIVER_PATH", "PROJ_DATA", "PROJ_LIB", "MPLBACKEND"} & os.environ.keys()
    assert os.environ["GDAL_DATA"] == f"{sys.prefix}/share/gdal"
    assert locale.setlocale(locale.LC_CTYPE) == "C.UTF-8"
