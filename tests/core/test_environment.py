"""What a shell says of other installations, windows and languages decides nothing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
REPORT = """
import locale, os, cerraseg
from rasterio.crs import CRS
import matplotlib
print(CRS.from_epsg(32722).to_epsg(), locale.setlocale(locale.LC_CTYPE), sorted(
    name for name in ("GDAL_DATA", "GDAL_DRIVER_PATH", "PROJ_DATA", "PROJ_LIB", "MPLBACKEND") if name in os.environ))
"""


def ran(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "ERROR" not in done.stderr
    return done.stdout.strip()


def test_other_installations_are_forgotten(tmp_path):
    (tmp_path / "proj.db").write_text("of another version")
    said = dict.fromkeys(("GDAL_DATA", "GDAL_DRIVER_PATH", "PROJ_DATA", "PROJ_LIB"), str(tmp_path))
    assert ran(REPORT, **said, MPLBACKEND="no_such_backend") == "32722 C.UTF-8 []"


def test_folders_of_this_installation_stay():
    code = "import os, cerraseg; print(os.environ['GDAL_DATA'])"
    assert ran(code, GDAL_DATA=f"{sys.prefix}/share/gdal") == f"{sys.prefix}/share/gdal"


@pytest.mark.skipif(not shutil.which("localedef"), reason="no locale can be made here")
def test_turkish_letters_do_not_hide_options_from_gdal(tmp_path):
    """In Turkish the small letter of I is no i, so that GDAL does not find the option VERSION among its own."""
    command = ["localedef", "-i", "tr_TR", "-f", "UTF-8", tmp_path / "tr_TR.UTF-8"]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this system has no source of the Turkish locale")
    code = f"""
from rasterio.crs import CRS
from cerraseg.mapping.geopackage import write_geopackage
from cerraseg.core.taxonomy import LEVELS
import numpy, pathlib, shapely
square = numpy.array([shapely.box(0, 0, 1, 1)])
batches = [(square, {{"class_id": numpy.array([1])}})]
write_geopackage(pathlib.Path({str(tmp_path)!r}, "made.gpkg"), batches, crs=CRS.from_epsg(4326), classes=LEVELS["l1"])
"""
    files = []
    for environment in ({"LC_ALL": "C.UTF-8"}, {"LC_ALL": "tr_TR.UTF-8", "LOCPATH": str(tmp_path)}):
        ran(code, **environment)
        files.append((tmp_path / "made.gpkg").read_bytes())
    assert files[0] == files[1]
