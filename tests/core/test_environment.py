"""Variables of a shell for other installations, windows and languages change nothing."""

import locale
import os
import sys

from cerraseg.core.environment import sanitise

FOLDERS = ("GDAL_DATA", "GDAL_DRIVER_PATH", "PROJ_DATA", "PROJ_LIB")


def test_other_installations_and_the_window_system_are_removed(monkeypatch, tmp_path):
    for name in FOLDERS:
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("MPLBACKEND", "no_such_backend")
    sanitise()
    assert not {*FOLDERS, "MPLBACKEND"} & os.environ.keys()
    assert locale.setlocale(locale.LC_CTYPE) == "C.UTF-8"


def test_folders_of_this_installation_stay(monkeypatch):
    monkeypatch.setenv("GDAL_DATA", f"{sys.prefix}/share/gdal")
    sanitise()
    assert os.environ["GDAL_DATA"] == f"{sys.prefix}/share/gdal"
