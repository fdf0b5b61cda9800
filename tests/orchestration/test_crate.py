"""What made a file is in the crate, and what changed since is found."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from rocrate.rocrate import ROCrate

from cerraseg.core.content import content
from cerraseg.core.errors import CerraSegError, DataError
from cerraseg.orchestration.provenance import crate, lineage, reproduce
from cerraseg.orchestration.provenance.write_crate import PROFILES, write_crate
from cerraseg.orchestration.step import step

CONFIG = {"results": "results", "source": "local", "tune": {"storage": "postgresql://me:secret@host/db"}, "roots": []}
BEST, MAP = "results/scenarios/a/checkpoint.pt", "results/scenarios/a/map"


def put(path, text="hello"):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    return str(path)


def job(rule, output, input=(), wildcards=None, **params):
    return SimpleNamespace(
        rule=rule, output=[output], input=list(input), wildcards=wildcards or {}, params={"code": "c0de", **params},
        threads=2, log=[f"results/logs/{rule}.log"], config=CONFIG,
    )  # fmt: skip


def run(rule, output, input=(), file=None, text="hello", **params):
    with step(job(rule, output, input, **params)):
        put(file or output, text)


def finish(completed=True):
    write_crate(CONFIG, crate.now(), completed)


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    """Three jobs in a row: a table, a checkpoint, and a folder with a map; the last also reads the first's."""
    monkeypatch.chdir(tmp_path)
    put("data/patches.tif")
    run("index", "results/patches.parquet", ["data/patches.tif"])
    run("train", BEST, ["results/patches.parquet"], wildcards={"scenario": "a"}, seed=7, storage="a://b:secret@c")
    run("map", MAP, [BEST, "results/patches.parquet"], file=f"{MAP}/classes.tif")
    finish()
    return Path("results")


def test_the_crate_follows_the_profile(results):
    read = ROCrate(results)
    assert [part.id for part in read.root_dataset["conformsTo"]] == list(PROFILES)
    assert read.mainEntity["programmingLanguage"].id.endswith("#snakemake")
    action = read.dereference(crate.RUN)
    assert action["instrument"] is read.mainEntity
    assert {entity.id for entity in action["result"]} == {"patches.parquet", BEST[8:], f"{MAP[8:]}/"}
    assert {entity.id for entity in action["object"]} == {crate.CONFIGURATION, "#data/patches.tif"}
    best = read.dereference("scenarios/a/checkpoint.pt")
    assert (best["contentSize"], best["sha256"]) == ("5", content(Path(BEST)).sha256)
    train = read.dereference("#train/a")
    assert train["instrument"]["softwareVersion"] == "c0de" and train["startTime"] <= train["endTime"]
    settings = json.loads(read.dereference("#train/a/settings")["value"])
    assert settings["params"] == {"seed": 7} and settings["threads"] == 2 and "torch" in settings["versions"]
    assert "secret" not in (results / crate.NAME).read_text()


def test_the_lineage_is_an_indented_tree():
    lines = list(lineage.describe(*lineage.find_result(Path(MAP))))
    assert lines[0] == f"{Path.cwd()}/{MAP}: unchanged since" and lines[2].startswith("  made by map, ")
    assert lines[lines.index("  made from:") + 1 :] == [
        "    patches.parquet: by index, unchanged since",
        "      data/patches.tif: unchanged since",
        "    scenarios/a/checkpoint.pt: by train/a, unchanged since",
        "      patches.parquet: by index, unchanged since, see above",
    ]
    assert list(lineage.describe(*lineage.find_result(Path(f"{MAP}/classes.tif")))) == lines


def test_what_changed_since_is_found_though_another_run_ended_later(results, capsys):
    status = [crate.read_crate(results)[crate.RUN]["actionStatus"]]
    put(BEST, "bost")
    run("areas", "results/areas.csv", [MAP])
    finish(completed=False)
    assert lineage.main(results / "areas.csv") == 1 and lineage.main(results / "patches.parquet") == 0
    assert "checkpoint.pt: by train/a, CHANGED SINCE" in capsys.readouterr().out
    status.append(crate.read_crate(results)[crate.RUN]["actionStatus"])
    assert [name.rpartition("/")[2] for name in status] == ["CompletedActionStatus", "FailedActionStatus"]


def test_the_youngest_maker_counts_and_what_is_gone_is_left_out(results):
    run("adopt", BEST, text="adopted", wildcards={"scenario": "a"})
    (results / "patches.parquet").unlink()
    for _ in range(2):
        finish()
        entities = crate.read_crate(results)
        assert {"#adopt/a", "#map"} <= entities.keys() and not {"#train/a", "#index"} & entities.keys()
    assert lineage.main(Path(BEST)) == 0


def test_a_clone_without_notes_keeps_what_the_crate_knows(results):
    for note in (results / "logs").glob("*.json"):
        note.unlink()
    before = crate.read_crate(results)
    run("areas", "results/areas.csv", [MAP])
    finish()
    after = crate.read_crate(results)
    assert after["#train/a"] == before["#train/a"] and "#areas" in after


@pytest.mark.parametrize("path", ["results/other.csv", "no/such/file", "."])
def test_what_no_crate_knows_is_refused(path):
    put("results/other.csv")
    with pytest.raises(DataError, match=crate.NAME):
        lineage.find_result(Path(path))


def test_a_step_that_fails_names_damaged_inputs(capsys):
    put(BEST, "damaged")
    put(f"{MAP}/classes.tif", "damaged")
    with pytest.raises(ValueError), step(job("later", "results/later", [BEST, MAP, "results/patches.parquet"])):
        raise ValueError
    said = [line for line in capsys.readouterr().err.splitlines() if "not what its step wrote" in line]
    assert [line.split(": not")[0].split()[-1] for line in said] == [BEST, MAP]
    assert not Path("results/logs/later.json").exists()


def test_folders_are_hashed_by_names_and_content_without_hidden_files():
    put("a/x/one"), put("a/two", "more"), put("b/two", "more"), put("b/x/one"), put("b/.snakemake_timestamp", "")
    assert content(Path("a")) == content(Path("b")) and content(Path("a")).bytes == 9
    Path("b/two").rename("b/too")
    assert content(Path("a")) != content(Path("b"))


@pytest.mark.parametrize("folder", ["/somewhere/mine", "../mine"])
def test_nothing_is_simulated_over(tmp_path, folder):
    write_crate(CONFIG | {"source": "simulate", "simulate": {"folder": folder}}, crate.now(), True)
    with pytest.raises(CerraSegError, match=r"simulate\.folder"):
        reproduce.make_again(*lineage.find_result(Path(BEST)), tmp_path / "again")
