"""The same seed gives the same results: twice, in hostile surroundings, and by `make reproduce`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import opened
from project import TINY, TUNED, Project
from sameness import differing
from test_records import job, put

from cerraseg.config import recipes, scenario
from cerraseg.core.errors import CerraSegError, DataError
from cerraseg.orchestration.provenance import provenance, records, reproduce
from cerraseg.training import plan, train

METRICS = f"results/scores/{TUNED}/metrics.json"
DEEP = Path("Müller's façade – 雲 (old)", "d" * 60, "e" * 60, "with  two spaces")
MATPLOTLIBRC = "savefig.dpi: 33\nfont.size: 22\nfont.family: monospace\nsvg.fonttype: none\naxes.facecolor: red\n"


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Project:
    """A finished run of the tiny configuration."""
    made = Project(tmp_path_factory.mktemp("plain") / "project", TINY)
    made.run(LC_ALL="C.UTF-8", TZ="UTC")
    return made


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
    put(folder / "matplotlibrc", MATPLOTLIBRC)
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


@pytest.mark.drill
def test_a_run_in_hostile_surroundings_gives_the_same_bytes(plain, tmp_path):
    """Every file, of another run, with another number of cores, in a deep folder with spaces, under another umask."""
    (tmp_path / DEEP).mkdir(parents=True)
    before = os.umask(0o077)
    try:
        other = Project(tmp_path / DEEP / "project", TINY)
        other.where = ("--cores", "1")
        other.run(**hostile(tmp_path / "home"))
    finally:
        os.umask(before)
    assert differing(plain.folder / "results", other.folder / "results") == []


def again(project: Project, result: str, folder: Path, ok: bool) -> str:
    return project.call(
        [sys.executable, "-m", "cerraseg.orchestration.provenance.reproduce", result], ok=ok, TMPDIR=str(folder)
    )


@pytest.mark.drill
def test_reproduce_makes_it_again_and_says_what_is_another_version(plain, tmp_path):
    record = plain.folder / f"results/provenance/train/{TUNED}.json"
    text = record.read_text()
    fields = json.loads(text)
    record.write_text(json.dumps(fields | {"versions": fields["versions"] | {"torch": "0.4"}}))
    said = again(plain, METRICS, tmp_path, ok=True)
    assert not list(tmp_path.glob("cerraseg-reproduce-*"))
    record.write_text(text)
    assert f"{METRICS}: identical" in said and f"versions torch: 0.4, now {fields['versions']['torch']}" in said
    assert "nothing in its lineage came out otherwise" in said


@pytest.mark.drill
def test_reproduce_finds_what_was_changed_by_hand(plain, tmp_path):
    path = plain.folder / "results/split.csv"
    text = path.read_text()
    path.write_text(text.replace("train", "test", 1))
    said = again(plain, "results/split.csv", tmp_path, ok=False)
    path.write_text(text)
    assert "results/split.csv: DIFFERS" in said and "it was changed after it was made" in said
    assert "nothing in its lineage came out otherwise" in said


@pytest.mark.drill
def test_training_with_one_or_two_readers_is_the_same(packed, tmp_path, monkeypatch):
    """To the byte, whoever reads. With another number of threads sums go another way, and nothing is promised."""
    loaders = train.loaders

    def trained(name: str, threads: int, readers: int) -> Path:
        folder = tmp_path / name
        monkeypatch.setattr(train, "loaders", lambda *parts, **how: loaders(*parts, **how | {"readers": readers}))
        outputs = train.Outputs(*(folder / part for part in ("checkpoint.pt", "last.pt", "history.csv")))
        told = plan.Plan(
            scenario.parse(TUNED), recipes.RECIPES["tuned"]["unet"], TINY["unet"], threads=threads, **TINY["training"]
        )
        train.train(told, opened(packed), packed / "split.csv", packed / "statistics.json", outputs, folder / "resume")
        return outputs.last

    calls = (("a", 1, 1), ("b", 1, 2), ("c", 2, 1), ("d", 2, 2))
    one, again, two, twice = (trained(*each) for each in calls)
    assert one.read_bytes() == again.read_bytes() and two.read_bytes() == twice.read_bytes()


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Two results folders with a table and a checkpoint made of it, as of two runs."""
    monkeypatch.chdir(tmp_path)
    for folder in ("first", "second"):
        table = put(f"{folder}/patches.parquet", "table")
        records.write(job("index", folder, output={"table": table}))
        best = f"{folder}/checkpoint.pt"
        torch.save({"parameters": {"weight": torch.ones(3)}}, best)
        records.write(job("train", folder, output={"best": best}, input=[table], rate=0.1))
    return tmp_path


def found(folder):
    return provenance.find(Path(folder, "checkpoint.pt"))


def test_equal_results_are_identical(results):
    equal, lines = reproduce.compare(found("first"), found("second"))
    assert equal and "identical" in lines[0] and lines[1:] == [
        "nothing in its lineage came out otherwise than the records say"
    ]  # fmt: skip


def test_the_first_difference_and_its_causes_are_named(results):
    table = put("second/patches.parquet", "another table")
    records.write(job("index", "second", output={"table": table}, new=1))
    torch.save({"parameters": {"weight": torch.zeros(3)}}, "second/checkpoint.pt")
    records.write(job("train", "second", output={"best": "second/checkpoint.pt"}, input=[table], rate=0.2))
    equal, lines = reproduce.compare(found("first"), found("second"))
    assert not equal and "DIFFERS" in lines[0]
    assert lines[1] == "the first to come out otherwise: {results}/patches.parquet by index"
    assert lines[-2:] == ["  params new: None, now 1 (index)", "  params rate: 0.1, now 0.2 (train)"]


def test_a_checkpoint_is_compared_by_its_parameters(results):
    torch.save({"parameters": {"weight": torch.ones(3)}, "training": {"note": "another zip"}}, "second/checkpoint.pt")
    equal, lines = reproduce.compare(found("first"), found("second"))
    assert equal and "their parameters are equal, bit by bit" in lines[1]


def test_what_was_changed_by_hand_is_said(results):
    torch.save({"parameters": {"weight": torch.zeros(3)}}, "first/checkpoint.pt")
    equal, lines = reproduce.compare(found("first"), found("second"))
    assert not equal and lines[1].startswith("it was changed after it was made")


def test_sources_of_a_configuration_are_linked_but_not_what_a_run_makes(results):
    for path in ("rasters/msi.tif", "results/own.pt", "mine.pt", "data/simulated/scene/sar.tif", "encoder.pt"):
        put(path)
    config = {
        "source": "simulate", "simulate": {"folder": "data/simulated"}, "results": "results", "roots": "rasters",
        "kaggle": {"folder": "data/kaggle"}, "released": {"folder": "released"},
        "checkpoints": {"a": "results/own.pt", "b": "mine.pt", "c": "/elsewhere.pt"},
        "models": {"late": {"pretrained": "encoder.pt"}, "plain": {}},
        "scenes": [{"msi": "rasters/msi.tif", "sar": "data/simulated/scene/sar.tif"}],
    }  # fmt: skip
    linked = [str(path) for path in reproduce._sources(config)]
    assert linked == ["rasters", "mine.pt", "encoder.pt"]


def test_a_configuration_that_is_not_kept_is_asked_for(results):
    with pytest.raises(DataError, match=r"configurations/.*\.json: missing"):
        reproduce.again(found("first"), results / "again")


CONFIG = {
    "results": "first", "source": "local", "tune": {"storage": ""}, "training": {"epochs": 2}, "scenes": [],
    "simulate": {"folder": "data/simulated"}, "kaggle": {"folder": ""}, "released": {"folder": ""},
    "checkpoints": {}, "models": {},
}  # fmt: skip


def keep(**changes):
    """A configuration under the digest that the records name."""
    digest = found("first").maker.fields["configuration"]
    put(f"first/provenance/configurations/{digest}.json", json.dumps(CONFIG | changes))


def test_a_job_that_fails_ends_it(results):
    keep()
    (results / "again").mkdir()
    with pytest.raises(CerraSegError, match="could not be made again: a job failed"):
        reproduce.again(found("first"), results / "again", ["--no-such-option"])


@pytest.mark.parametrize("folder", ["/somewhere/mine", "../mine"])
def test_nothing_is_simulated_over(results, folder):
    keep(source="simulate", simulate={"folder": folder})
    with pytest.raises(DataError, match="would be simulated over"):
        reproduce.again(found("first"), results / "again")
