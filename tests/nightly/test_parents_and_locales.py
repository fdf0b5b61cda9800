"""Worker processes end with a killed step; a Turkish locale changes no output."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SLEEPER = """
import time
from cerraseg.core.processes import process_map
if __name__ == "__main__":
    list(process_map(time.sleep, [60] * 100, 2))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_worker_outlives_a_killed_step(number, tmp_path):
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    parent = subprocess.Popen([sys.executable, tmp_path / "sleeper.py"], env=os.environ | {"PYTHONPATH": REPOSITORY})
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    workers: list[str] = []
    for _ in range(2000):
        workers = [pid for pid in children.read_text().split() if "spawn_main" in command(pid)]
        if len(workers) == 2:
            break
        time.sleep(0.01)
    assert len(workers) == 2
    parent.send_signal(number)
    parent.wait()
    for _ in range(1000):
        if not (left := [pid for pid in workers if "spawn_main" in command(pid)]):
            break
        time.sleep(0.01)
    assert left == []


def command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


@pytest.mark.skipif(not shutil.which("localedef"), reason="no locale can be made here")
def test_turkish_letters_do_not_hide_options_from_gdal(tmp_path):
    """In Turkish the small letter of I is no i, so that GDAL does not find the option VERSION among its own."""
    made = ["localedef", "-i", "tr_TR", "-f", "UTF-8", tmp_path / "tr_TR.UTF-8"]
    if subprocess.run(made, capture_output=True, check=False).returncode:
        pytest.skip("this system has no source of the Turkish locale")
    code = f"""
from rasterio.crs import CRS
from cerraseg.mapping.geopackage import write_geopackage
from cerraseg.config.dataset import Dataset
import numpy, pathlib, shapely
square = numpy.array([shapely.box(0, 0, 1, 1)])
batches = [(square, {{"class_id": numpy.array([1])}})]
classes = Dataset.of("cerradata-4mm").classes("l1")
write_geopackage(pathlib.Path({str(tmp_path)!r}, "made.gpkg"), batches, crs=CRS.from_epsg(4326), classes=classes)
"""
    files = []
    for environment in ({"LC_ALL": "C.UTF-8"}, {"LC_ALL": "tr_TR.UTF-8", "LOCPATH": str(tmp_path)}):
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY)} | environment
        subprocess.run([sys.executable, "-c", code], env=environment, check=True)
        files.append((tmp_path / "made.gpkg").read_bytes())
    assert files[0] == files[1]
