"""Configurations that say what nobody means: refused with file and line or path and value, at once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import hypothesis.strategies as st
import pytest
import yaml
from cell import CASES, Cell, assert_no_fault, cells
from hypothesis import example, given, settings

from cerraseg.config.strict_yaml import check_yaml
from cerraseg.config.validate import check_config
from cerraseg.core.errors import ConfigError

cell = pytest.fixture(cells, scope="module")
REPOSITORY = Path(__file__).parents[3]
SCHEMA = yaml.safe_load((REPOSITORY / "workflow/schemas/config.schema.yaml").read_text())
TEXT = (REPOSITORY / "config/config.yaml").read_text()
DEMO = yaml.safe_load(TEXT)


def loaded(path):
    """What becomes of a file: the strict reading, then the check of what Snakemake's loader makes of it."""
    check_yaml(path)
    text = path.read_text("utf-8-sig")
    checked(json.loads(text) if path.suffix == ".json" else yaml.load(text, yaml.FullLoader))


def checked(config):
    check_config(config, SCHEMA)


REFUSED = {
    "training:\n  epochs: 1\n  batch_size: 2\n  epochs: 3\n": "line 4",
    '{"source": "simulate", "source": "local"}': "source",
    "a: !!python/object/apply:os.system [id]\n": "line 1",
    "a: !x 1\n": "line 1",
    "yes: 1\n": "the key True",
    "1: 1\n": "the key 1",
    "a: &a [*a]\n": "nested",
    "__use_yte__: true\n?if True:\n  a: 1\n": "__use_yte__",
    "a:\n\tb: 1\n": "line 2",
    "a: [\n": "line 2",
    "a: 1\n---\nb: 1\n": "another document",
    "a: \0\n": "special characters",
    "a: 2001-99-99\n": "month",
    "a: " + "[" * 60 + "]" * 60: "nested",
    "a: " + "[" * 5000: "plain YAML",
}


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_files_that_no_reader_should_take_are_refused_with_the_line(cell: Cell, tmp_path: Path, text: str) -> None:
    (tmp_path / "odd.yaml").write_text(text)
    outcome = cell.run(loaded, tmp_path / "odd.yaml")
    assert outcome.kind == "refused" and REFUSED[text] in outcome.told, outcome.told


def test_encodings_and_good_files(cell: Cell, tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("source: simulate\nlabel: São Félix\n".encode("latin-1"))
    assert "latin.yaml, line 2" in cell.run(loaded, tmp_path / "latin.yaml").told
    assert cell.run(loaded, tmp_path).kind == "refused"
    (tmp_path / "mark.yaml").write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    (tmp_path / "tabs.json").write_text(json.dumps(DEMO, indent="\t"))
    for name in ("mark.yaml", "tabs.json"):
        assert cell.run(loaded, tmp_path / name).kind == "taken"
    (tmp_path / "good.yaml").write_text("a: &a {b: 1}\nc: {<<: *a, d: 2}\ne: [*a, *a]\n")
    for path in (tmp_path / "good.yaml", *(REPOSITORY / "config").glob("*.yaml")):
        check_yaml(path)


@given(data=st.data())
def test_files_with_other_bytes_are_taken_or_refused_in_words(cell: Cell, tmp_path_factory, data) -> None:
    content = bytearray(TEXT.encode())
    tokens = [b"\t", b"\0", b"&a ", b"*a", b"<<: ", b"!!int ", b"- ", b"{", b"[", b"'", b": ", b"\xff", b"~", b"---\n"]
    for place in data.draw(st.lists(st.integers(0, len(content)), min_size=1, max_size=6)):
        piece = data.draw(st.one_of(st.binary(max_size=3), st.sampled_from(tokens)))
        content[place : place + data.draw(st.integers(0, 3))] = piece
    path = tmp_path_factory.getbasetemp() / "mutated.yaml"
    path.write_bytes(content)
    assert_no_fault(cell.run(loaded, path))


def places(schema, path=()):
    """Every path of the schema's keys."""
    for key, below in schema.get("properties", {}).items():
        yield (*path, key)
        yield from places(below, (*path, key))
    for named in ("items", "additionalProperties"):
        if isinstance(schema.get(named), dict) and "properties" in schema[named]:
            yield from places(schema[named], (*path, 0 if named == "items" else "mine"))


HOLLOW = [
    "", " ", "..", "../..", "/", "-rf", "~", "$HOME", "%s", "{x}", "*", "a\nb", "a\0b", "\u202eabc", "\ud800", "[1",
    "x" * 5000, "2001-99-99", "1e3", "off", "unet", "²", "unet-concat-nw-l1-paper-²", "[" * 5000, "!!timestamp x",
]  # fmt: skip
texts = st.one_of(st.sampled_from(HOLLOW), st.text(max_size=20))
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), texts, st.dates(), st.binary(max_size=3),
    st.sampled_from([10**30, -(10**30), 10**4000, 2**63, 5.0, 1e300, 0, -1, 0.5]),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.one_of(texts, scalars), inner, max_size=3)),
    max_leaves=6,
)


def changed(config, path, value):
    """A configuration with another value at a path, and what leads there."""
    top, *below = path
    for key in reversed(below):
        value = [{"name": "odd"} | value] if key == 0 else {key: value}
    merge = isinstance(value, dict) and isinstance(config.get(top), dict)
    return config | {top: config[top] | value if merge else value}


@given(changes=st.lists(st.tuples(st.sampled_from(sorted(places(SCHEMA), key=str)), values), min_size=1, max_size=3))
@settings(max_examples=4 * CASES)
@example(changes=[(("training", "epochs"), 5.0)])
def test_any_value_anywhere_is_taken_or_refused_in_words(cell: Cell, changes) -> None:
    config = DEMO
    for path, value in changes:
        config = changed(config, path, value)
    assert_no_fault(cell.run(checked, config))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("label", "a\u202eb"), ("label", "a\nb"), ("results", "r/" + "x" * 256), ("models", {1: {}}),
        ("split", {"tolerance": float("nan")}), ("split", {"seed": 2**40}), ("simulate", {"patches": 10**4000}),
        ("scenes", [{"name": "../a"}]), ("scenes", [{"name": "-rf"}]), ("scenes", [{"name": "a" * 101}]),
        ("scenes", [DEMO["scenes"][0], DEMO["scenes"][0] | {"name": "UNSEEN"}]),
        ("models", {"a" * 61: {"architecture": "Unet", "encoder": "resnet18"}}),
    ],
)  # fmt: skip
def test_what_would_break_later_is_said_now(key, value):
    with pytest.raises(ConfigError, match=key):
        check_config({**DEMO, key: value}, SCHEMA)


def test_the_user_sees_the_message_and_no_traceback(tmp_path):
    (tmp_path / "odd.yaml").write_text(f"{TEXT}\nsource: simulate\n")
    command = [sys.executable, "-m", "snakemake", "-n", "--cores", "1", "-d", tmp_path, "-s", REPOSITORY / "Snakefile"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
    command += ["--configfile", tmp_path / "odd.yaml"]
    done = subprocess.run(command, text=True, capture_output=True, timeout=60, check=False, env=environment)
    assert done.returncode == 1 and "source" in done.stdout and "Traceback" not in done.stdout + done.stderr
