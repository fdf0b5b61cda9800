"""What made a file is told in words, and what changed since is found."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_records import job, put

from cerraseg.core.errors import DataError
from cerraseg.orchestration.provenance import provenance, records


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    """Three jobs in a row: a table, a checkpoint, and a folder with a map; the last also reads the first's."""
    monkeypatch.chdir(tmp_path)
    table = put("results/patches.parquet", "table")
    records.write(job("index", output={"table": table}, settings={"max_rejected": 0.01}))
    best = put("results/scenarios/a/checkpoint.pt", "best")
    records.write(job("train", output={"best": best}, input=[table], wildcards={"scenario": "a"}, seed=7))
    put("results/scenarios/a/map/classes.tif", "map")
    records.write(job("map", output={"map": "results/scenarios/a/map"}, input=[best, table]))
    return Path("results")


def told(path="results/scenarios/a/map"):
    return "\n".join(provenance.tell(provenance.find(Path(path))))


def test_the_lineage_is_an_indented_tree():
    lines = told().splitlines()
    assert lines[0].endswith("results/scenarios/a/map: unchanged since")
    assert "  made by map on cpu" in lines[2] and lines[2].endswith(", 2 thread(s)")
    assert "  seeds: train.seed 7" in lines
    assert lines[lines.index("  made from:") + 1 :] == [
        "    {results}/patches.parquet: by index, unchanged since",
        "    {results}/scenarios/a/checkpoint.pt: by train (a), unchanged since",
        "      {results}/patches.parquet: by index, unchanged since, see above",
    ]


def test_a_file_of_a_folder_is_told_by_the_folder():
    assert told("results/scenarios/a/map/classes.tif") == told()


def test_lineage_begins_at_the_source():
    found = provenance.find(Path("results/scenarios/a/map")).lineage()
    assert [record.fields["rule"] for record in found] == ["index", "train", "map"]


def test_what_changed_since_is_said():
    put("results/scenarios/a/checkpoint.pt", "bost")
    assert "checkpoint.pt: by train (a), CHANGED SINCE" in told()
    Path("results/scenarios/a/checkpoint.pt").unlink()
    assert "checkpoint.pt: by train (a), not here" in told()
    put("results/scenarios/a/map/classes.tif", "mop")
    assert told().startswith(f"{Path.cwd()}/results/scenarios/a/map: CHANGED SINCE")


def test_another_version_behind_is_said():
    path = Path("results/provenance/train.json")
    fields = json.loads(path.read_text())
    fields["versions"]["torch"] = "0.4"
    path.write_text(json.dumps(fields))
    assert "by train (a), unchanged since; versions torch: 0.4, now " in told()


def test_differences_name_each_key():
    first, _, last = provenance.find(Path("results/scenarios/a/map")).lineage()
    assert provenance.differences(first, first) == []
    assert provenance.differences(first, last) == ["params settings: {'max_rejected': 0.01}, now None"]


@pytest.mark.parametrize("path", ["results/other.csv", "no/such/file", "."])
def test_what_is_not_by_cerraseg_is_said(path):
    put("results/other.csv")
    with pytest.raises(DataError, match="not by CerraSeg"):
        provenance.find(Path(path))


def test_command():
    def run(path):
        command = [sys.executable, "-m", "cerraseg.orchestration.provenance.provenance", path]
        environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert (done := run("results/patches.parquet")).returncode == 0 and "made by index" in done.stdout
    put("results/patches.parquet", "tuble")
    assert run("results/scenarios/a/map").returncode == 1
    assert (done := run("setup.py")).returncode == 1 and "not by CerraSeg" in done.stderr
