"""Records of jobs: complete, equal for equal work, hashed once, with no trace of machine or user."""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from cerraseg.core import versions
from cerraseg.orchestration.provenance import records
from cerraseg.orchestration.provenance.content import Content, content
from cerraseg.orchestration.step import step


class Named(SimpleNamespace):
    """What Snakemake gives a script: values by name, and in order."""

    def __iter__(self):
        return iter(vars(self).values())

    def items(self):
        return vars(self).items()

    def get(self, name, default=None):
        return vars(self).get(name, default)


def job(rule="train", results="results", *, output, input=None, wildcards=None, **params):
    told = {"provenance": f"{results}/provenance/{rule}.json"}
    return SimpleNamespace(
        rule=rule, output=Named(**output, **told), input=input or [], wildcards=Named(**(wildcards or {})),
        params=Named(code="c0de", **params), threads=2, resources={}, log=[f"{results}/logs/{rule}.log"],
        config={"results": results, "tune": {"storage": ""}, "training": {"epochs": 2}},
    )  # fmt: skip


def put(path, text="hello"):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    return path


def read(rule="train", results="results"):
    return json.loads(Path(results, f"provenance/{rule}.json").read_text())


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_record_says_all_that_decides():
    put("results/packed/header.json")
    packed = job("pack", output={"header": "results/packed/header.json"})
    records.write(packed)
    out = put("results/scenarios/a/checkpoint.pt", "abc")
    made = job(
        output={"best": out}, input=["results/packed/header.json"], wildcards={"scenario": "a"},
        scenario={"model": "unet", "seed": 7}, resume="results/resume/a", rate=0.5,
    )  # fmt: skip
    records.write(made)
    found = read()
    assert found["rule"] == "train" and found["wildcards"] == {"scenario": "a"}
    assert found["outputs"] == [
        {
            "path": "{results}/scenarios/a/checkpoint.pt",
            "bytes": 3,
            "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        }
    ]
    header = found["inputs"][0]["sha256"]
    assert found["data"] == {"packed": header} and header.startswith("2cf24dba5fb0a30e26e83b2ac5b9e29e")
    assert found["params"] == {
        "scenario": {"model": "unet", "seed": 7},
        "resume": "{results}/resume/a",
        "rate": 0.5,
    }
    assert (found["code"], found["seeds"], found["threads"]) == ("c0de", {"train.scenario.seed": [7]}, 2)
    assert found["configuration"] == records.digest(made.config) and found["versions"] == versions.versions()
    assert found["device"].startswith("cpu")


def test_seeds_and_data_come_down_from_what_was_read():
    first = put("results/patches.parquet")
    records.write(job("index", output={"table": first}, settings={"seed": 3, "validation_seed": 4}))
    second = put("results/split.csv")
    records.write(job("split", output={"split": second}, input=[first], seed=5))
    third = put("results/map.tif")
    records.write(job("map", output={"map": third}, input=[second]))
    found = read("map")
    assert found["data"] == {"patches": found["inputs"][0]["sha256"]}
    assert found["seeds"] == {"index.settings.seed": [3], "index.settings.validation_seed": [4], "split.seed": [5]}


@pytest.mark.parametrize(
    ("gpus", "nodes", "available", "expected"),
    [(0, 1, True, "cpu, AVX2"), (1, 1, False, "cpu, AVX2"), (1, 1, True, "1 x H"), (4, 2, True, "8 x H")],
)
def test_the_device_is_named(monkeypatch, gpus, nodes, available, expected):
    cuda = SimpleNamespace(is_available=lambda: available, get_device_name=lambda index: "H")
    cpu = SimpleNamespace(get_cpu_capability=lambda: "AVX2")
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda, backends=SimpleNamespace(cpu=cpu)))
    made = job(output={"best": put("results/best")})
    made.resources = {"gpu": gpus, "nodes": nodes}
    records.write(made)
    assert read()["device"] == expected


def test_a_light_step_is_on_the_cpu_without_loading_torch(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    records.write(job(output={"best": put("results/best")}))
    assert read()["device"] == "cpu" and "torch" not in sys.modules


def test_equal_work_in_another_place_gives_equal_bytes(home):
    texts = []
    for results in ("results", str(home / "elsewhere/of mine")):
        source = str(put(home.parent / f"{home.name}-{len(texts)}/msi.tif"))
        out = Path(put(f"{results}/map/classes.tif"))
        records.write(job("map", results, output={"folder": str(out.parent)}, input=[source], scene={"msi": source}))
        texts.append(Path(results, "provenance/map.json").read_bytes())
    assert texts[0] == texts[1]


def test_no_path_or_user_gets_in(home):
    out = put("results/a.json")
    url = "postgresql://$USER:$PASSWORD@host/db"
    made = job(output={"a": out}, storage=url, roots=["/home/alice/patches"])
    made.config["tune"]["storage"] = url
    records.write(made)
    records.keep(made.config)
    for text in (path.read_text() for path in Path("results/provenance").rglob("*.json")):
        assert not any(word in text for word in ("alice", str(home)))
    assert read()["params"] == {"storage": url, "roots": [".../patches"]}


def test_configuration_is_kept_under_its_digest():
    config = {"results": "results", "tune": {"storage": ""}, "training": {"epochs": 2}}
    records.keep(config)
    kept = Path(f"results/provenance/configurations/{records.digest(config)}.json")
    assert json.loads(kept.read_text()) == config
    before = kept.stat().st_mtime_ns
    records.keep(config)
    assert kept.stat().st_mtime_ns == before
    assert records.digest(config | {"results": "others"}) == records.digest(config)
    assert records.digest(config | {"training": {"epochs": 3}}) != records.digest(config)


def test_folders_are_hashed_by_names_and_content_without_hidden_files():
    put("a/x/one"), put("a/two", "more"), put("b/two", "more"), put("b/x/one")
    assert content(Path("a")) == content(Path("b")) and content(Path("a")).bytes == 9
    put("b/.snakemake_timestamp", ""), put("b/.hidden/three")
    assert content(Path("a")) == content(Path("b"))
    Path("b/two").rename("b/too")
    assert content(Path("a")) != content(Path("b"))


def test_what_a_record_knows_is_not_read_again(monkeypatch):
    big = put("results/packed/images.npy")
    records.write(job("pack", output={"images": big}))
    seen = []
    monkeypatch.setattr(records, "content", lambda path: seen.append(str(path)) or Content(0, "read"))
    records.write(job("train", output={"best": put("results/best")}, input=[big]))
    assert seen == ["results/best"]
    assert read()["inputs"][0]["sha256"].startswith("2cf24dba")


@pytest.mark.parametrize("how", ["written", "older time", "renamed over", "linked to another"])
def test_what_changed_since_is_read(how):
    big = put("results/packed/images.npy")
    records.write(job("pack", output={"images": big}))
    before = Path(big).stat()
    put("other", "HELLO")
    if how == "linked to another":
        Path(big).unlink()
        Path(big).symlink_to("../../other")
    elif how == "renamed over":
        Path("other").rename(big)
    else:
        put(big, "HELLO")
    if how == "older time":
        os.utime(big, ns=(before.st_atime_ns, before.st_mtime_ns))
    records.write(job("train", output={"best": put("results/best")}, input=[big]))
    assert read()["inputs"][0] == {
        "path": "{results}/packed/images.npy",
        "bytes": 5,
        "sha256": "3733cd977ff8eb18b987357e22ced99f46097f31ecb239e878ae63760e83e4d5",
    }


def test_two_outside_files_of_one_name_are_both_there(home):
    sources = [str(put(home.parent / f"{home.name}-{side}/scene.tif", side)) for side in ("a", "b")]
    records.write(job("map", output={"map": put("results/map")}, input=sources))
    entries = read("map")["inputs"]
    assert [entry["path"] for entry in entries] == [".../scene.tif"] * 2
    assert entries[0]["sha256"] != entries[1]["sha256"]


def test_spoilt_records_are_passed_over():
    records.write(job("pack", output={"images": put("results/images")}))
    whole = read("pack")
    wrong = [whole | {name: value} for name in whole for value in (None, 1.5, [[]], {"a": {}})]
    wrong.remove(whole | {"params": {"a": {}}})
    missing = [{key: value for key, value in whole.items() if key != name} for name in whole]
    entries = [whole | {"inputs": [entry]} for entry in (None, {}, {"path": 1, "bytes": 1, "sha256": ""})]
    spoilt = map(json.dumps, [*wrong, *missing, *entries, whole | {"seeds": {"a": ["b"]}}])
    for number, text in enumerate(("", "{", "[]", '"text"', "\x00", "[" * 100_000, *spoilt)):
        put(f"results/provenance/{number}.json", text)
    Path("results/provenance/binary.json").write_bytes(b"\xff\xfe")
    assert [record.fields["rule"] for record in records.read(Path("results"))] == ["pack"]


def test_the_youngest_maker_counts():
    out = put("results/scenarios/a/checkpoint.pt")
    for rule in ("adopt", "train"):
        records.write(job(rule, output={"best": out}))
    maker = records.maker(records.read(Path("results")), "{results}/scenarios/a/checkpoint.pt")
    assert maker.fields["rule"] == "train"


def test_a_step_that_fails_leaves_no_record():
    out = put("results/best")
    with pytest.raises(ValueError), step(job(output={"best": out})):
        raise ValueError
    assert not Path("results/provenance").exists()
    with step(job(output={"best": out})):
        pass
    assert read()["outputs"][0]["bytes"] == 5


def test_a_step_that_fails_names_inputs_that_are_not_what_their_makers_wrote(capsys):
    """One is damaged, one gone, of a folder a file is; one is as it was, and nobody recorded one."""
    outputs = {name: f"results/{name}" for name in ("table", "gone", "maps", "whole")}
    for path in ("results/table", "results/gone", "results/maps/a.tif", "results/whole", "results/strange"):
        put(path)
    records.write(job("index", output=outputs))
    put("results/table", "hell")
    put("results/maps/a.tif", "hullo")
    Path("results/gone").unlink()
    later = job(output={}, input=[*outputs.values(), "results/strange"])
    with pytest.raises(ValueError), step(later):
        raise ValueError("1 column expected")
    told = [line for line in capsys.readouterr().err.splitlines() if "not what the step" in line]
    remedy = "not what the step index wrote; remove it and give the same command again"
    assert [line.split(" ERROR ")[1] for line in told] == [f"results/{n}: {remedy}" for n in ("gone", "maps", "table")]


def test_a_step_without_an_output_for_it_writes_none():
    with step(SimpleNamespace(log=["log.txt"], output=SimpleNamespace(card="card.md"))):
        pass
    assert [path.name for path in Path().iterdir()] == ["log.txt"]
