"""The same seed gives the same results: twice, in hostile surroundings, and by `make reproduce`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from conftest import opened
from project import TINY, TUNED, Project
from sameness import differing
from scenes import NAMES

from cerraseg.config import recipes, scenario
from cerraseg.config.dataset import Dataset
from cerraseg.training import plan, train

METRICS = f"results/scores/{TUNED}/metrics.json"
DEEP = Path("Müller's façade – 雲 (old)", "d" * 60, "e" * 60, "with  two spaces")
MATPLOTLIBRC = "savefig.dpi: 33\nfont.size: 22\nfont.family: monospace\nsvg.fonttype: none\naxes.facecolor: red\n"


def turkish(folder: Path) -> dict[str, str]:
    """A locale with a decimal comma and another upper case of i, compiled where the machine can."""
    folder.mkdir()
    if shutil.which("localedef"):
        command = ["localedef", "-i", "tr_TR", "-f", "UTF-8", folder / "tr_TR.UTF-8"]
        if not subprocess.run(command, capture_output=True, check=False).returncode:
            return {"LOCPATH": str(folder), "LC_ALL": "tr_TR.UTF-8"}
    return {"LC_ALL": "POSIX"}


def hostile(folder: Path) -> dict[str, str]:
    """What a shell may say to a run that does not concern it."""
    folder.mkdir()
    (folder / "matplotlibrc").write_text(MATPLOTLIBRC)
    nowhere = "/proc/nowhere"  # even root cannot make it
    libraries = dict.fromkeys(("GDAL_DATA", "GDAL_DRIVER_PATH", "PROJ_LIB", "PROJ_DATA", "XDG_CONFIG_HOME"), nowhere)
    gdal = {
        "GDAL_NUM_THREADS": "5", "GDAL_TIFF_INTERNAL_MASK": "FALSE", "GDAL_PAM_ENABLED": "YES", "GDAL_CACHEMAX": "1",
        "GTIFF_POINT_GEO_IGNORE": "TRUE", "GTIFF_WRITE_SRS_WKT_EXT": "NO", "OGR_CT_FORCE_TRADITIONAL_GIS_ORDER": "NO",
        "OSR_DEFAULT_AXIS_MAPPING_STRATEGY": "AUTHORITY_COMPLIANT",
    }  # fmt: skip
    return (turkish(folder / "locales") | libraries | gdal) | {
        "TZ": "Pacific/Kiritimati", "HOME": nowhere, "XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "3",
        "MKL_NUM_THREADS": "2", "MATPLOTLIBRC": str(folder / "matplotlibrc"), "MPLBACKEND": "no_such_backend",
        "PYTHONHASHSEED": "12345", "SOURCE_DATE_EPOCH": "1000",
    }  # fmt: skip


def test_a_run_in_hostile_surroundings_gives_the_same_bytes(finished, tmp_path):
    """Every file, of another run, with another number of cores, in a deep folder with spaces, under another umask."""
    (tmp_path / DEEP).mkdir(parents=True)
    before = os.umask(0o077)
    try:
        other = Project(tmp_path / DEEP / "project", TINY)
        other.where = ("--cores", "1")
        other.run(**hostile(tmp_path / "home"))
    finally:
        os.umask(before)
    assert differing(finished.folder / "results", other.folder / "results") == []


def test_a_result_is_told_reproduced_and_found_changed(project, tmp_path):
    def command(module, result, ok=True):
        program = [sys.executable, "-m", f"cerraseg.orchestration.provenance.{module}", result]
        return project.call(program, ok=ok, TMPDIR=str(tmp_path))

    assert "CHANGED" not in (said := command("lineage", METRICS)) and f"by train/{TUNED}, unchanged since" in said
    assert "identical" in command("reproduce", METRICS)
    assert not list(tmp_path.glob("cerraseg-reproduce-*"))
    path = project.folder / "results/split.csv"
    text = path.read_text()
    path.write_text(text.replace("train", "test", 1))
    assert "split.csv: by split, CHANGED SINCE" in command("lineage", METRICS, ok=False)
    said = command("reproduce", "results/split.csv", ok=False)
    path.write_text(text)
    assert "results/split.csv: DIFFERS" in said and "it was changed after it was made" in said


def test_training_with_one_or_two_readers_is_the_same(packed, tmp_path, monkeypatch):
    """To the byte, whoever reads. With another number of threads sums go another way, and nothing is promised."""
    loaders = train.loaders

    def trained(name: str, threads: int, readers: int) -> Path:
        folder = tmp_path / name
        monkeypatch.setattr(train, "loaders", lambda *parts, **how: loaders(*parts, **how | {"readers": readers}))
        outputs = train.Outputs(*(folder / part for part in ("checkpoint.pt", "last.pt", "history.csv")))
        told = plan.Plan(
            scenario.parse(TUNED, NAMES),
            recipes.RECIPES["tuned"]["unet"],
            TINY["unet"],
            Dataset.of("cerradata-4mm"),
            threads=threads,
            **TINY["training"],
        )
        train.train(told, opened(packed), packed / "split.csv", packed / "statistics.json", outputs, folder / "resume")
        return outputs.last

    calls = (("a", 1, 1), ("b", 1, 2), ("c", 2, 1), ("d", 2, 2))
    one, again, two, twice = (trained(*each) for each in calls)
    assert one.read_bytes() == again.read_bytes() and two.read_bytes() == twice.read_bytes()
