"""Configurations that say what nobody means: refused with file and line or path and value, at once."""

import copy
import json
import os
import string
import subprocess
import sys
from pathlib import Path

import hypothesis.strategies as st
import pytest
import yaml
from cell import CASES, Cell, assert_no_fault, cells
from hypothesis import example, given, settings

from cerraseg.config.scenario import parse
from cerraseg.config.strict_yaml import check_yaml
from cerraseg.config.validate import check_config
from cerraseg.core.errors import ConfigError

REPOSITORY = Path(__file__).parents[3]
SCHEMA = yaml.safe_load((REPOSITORY / "workflow/schemas/config.schema.yaml").read_text())
DEMO = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())
TEXT = (REPOSITORY / "config/config.yaml").read_text()


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    yield from cells(tmp_path_factory, "test_bad_configurations", megabytes=500)


def loaded(path):
    """What becomes of a file: the strict reading, then the check of what Snakemake's loader makes of it."""
    check_yaml(path)
    text = path.read_text("utf-8-sig")
    check_config(json.loads(text) if path.suffix == ".json" else yaml.load(text, yaml.FullLoader), SCHEMA)
    return "taken"


def checked(config):
    check_config(config, SCHEMA)
    return "taken"


REFUSED = {
    "training:\n  epochs: 1\n  batch_size: 2\n  epochs: 3\n": 'line 4: found duplicate key "epochs"',
    '{"source": "simulate", "source": "local"}': 'duplicate key "source"',
    "a: !!python/object/apply:os.system [id]\n": "line 1: could not determine a constructor",
    "a: !x 1\n": "line 1: could not determine a constructor",
    "yes: 1\n": "the key True is no text",
    "1: 1\n": "the key 1 is no text",
    "a: &a [*a]\n": "nested too deep",
    "__use_yte__: true\n?if True:\n  a: 1\n": "__use_yte__: expressions run code",
    "a:\n\tb: 1\n": "line 2: found character",
    "a: [\n": "line 2",
    "a: 1\n---\nb: 1\n": "another document",
    "a: \0\n": "special characters are not allowed",
    "a: 2001-99-99\n": "month must be in",
    "a: " + "[" * 60 + "]" * 60: "nested too deep",
    "a: " + "[" * 5000: "expected plain YAML",
}


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_files_that_no_reader_should_take_are_refused_with_the_line(cell: Cell, tmp_path: Path, text: str) -> None:
    (tmp_path / "odd.yaml").write_text(text)
    outcome = cell.run(loaded, tmp_path / "odd.yaml")
    assert outcome.kind == "refused", outcome.told
    assert REFUSED[text] in outcome.told


def test_encodings_and_good_files(cell: Cell, tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("source: simulate\nlabel: São Félix\n".encode("latin-1"))
    assert "latin.yaml, line 2: not UTF-8" in cell.run(loaded, tmp_path / "latin.yaml").told
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
    pieces = st.sampled_from(
        [b"\t", b"\0", b"&a ", b"*a", b"<<: ", b"!!int ", b"- ", b"{", b"[", b"'", b": ", b"\xff", b"~", b"---\n"]
    )
    for place in data.draw(st.lists(st.integers(0, len(content)), min_size=1, max_size=6)):
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.one_of(st.binary(max_size=3), pieces))
    path = tmp_path_factory.getbasetemp() / "mutated.yaml"
    path.write_bytes(content)
    assert_no_fault(cell.run(loaded, path))


def places(part, schema, path=()):
    """Every path of the schema's keys."""
    for key, below in schema.get("properties", {}).items():
        yield (*path, key)
        yield from places(part, below, (*path, key))
    for named in ("items", "additionalProperties"):
        if isinstance(schema.get(named), dict) and "properties" in schema[named]:
            yield from places(part, schema[named], (*path, 0 if named == "items" else "mine"))


PLACES = sorted(places(DEMO, SCHEMA), key=str)
HOLLOW = [
    "", " ", ".", "..", "../..", "/", "-rf", "~", "$HOME", "$NONE", "%s", "{}", "{x}", "*", "con", "a\nb", "a\0b",
    "e\u0301", "\u202eabc", "\ud800", "🛰️", "ñ" * 200, "x" * 300, "x" * 5000, "[1", "2001-99-99", "1e3", "yes", "off",
    "unet", "paper", "²", "unet-concat-nw-l1-paper-²", "unet-concat-nw-l1-paper-99999999999999", "[" * 5000,
    "!!timestamp x",
]  # fmt: skip
texts = st.one_of(
    st.sampled_from(HOLLOW), st.text(max_size=20), st.text("-_/.\\ :" + string.ascii_letters, max_size=40)
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), texts, st.dates(), st.datetimes(), st.binary(max_size=3),
    st.sampled_from([10**30, -(10**30), 10**4000, 2**63, 5.0, 1e300, 0, -1, 0.5]),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.one_of(texts, scalars), inner, max_size=3)),
    max_leaves=6,
)


def put(config, path, value):
    """Put a value at a path, making what leads there."""
    *parents, last = path
    for key, following in zip(parents, path[1:], strict=True):
        if isinstance(config, list):
            config += [] if config else [{"name": "odd"}]
        elif not isinstance(config.get(key), dict | list):
            config[key] = [] if following == 0 else {}
        config = config[key]
    config[last] = value


@given(changes=st.lists(st.tuples(st.sampled_from(PLACES), values), min_size=1, max_size=3))
@settings(max_examples=4 * CASES)
@example(changes=[(("training", "epochs"), 5.0)])
def test_any_value_anywhere_is_taken_or_refused_in_words(cell: Cell, changes) -> None:
    config = copy.deepcopy(DEMO)
    for path, value in changes:
        try:
            put(config, path, value)
        except (AttributeError, TypeError, IndexError):
            return  # an earlier change took away where this one goes
    assert_no_fault(cell.run(checked, config))


@given(config=values)
def test_any_value_as_a_configuration_is_refused_in_words(cell: Cell, config) -> None:
    assert_no_fault(cell.run(checked, config))


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("label", "a\u202eb", "label: 'a\\u202eb' holds the invisible character U+202E"),
        ("label", "a\nb", "holds the invisible character U+000A"),
        ("results", "r/" + "x" * 256, "too long; expected names of at most 255 bytes"),
        ("models", {1: {}}, "models: the key 1 is no text"),
        ("split", {"tolerance": float("nan")}, "split.tolerance: nan; expected a finite number"),
        ("split", {"seed": 2**40}, "1099511627776 is greater than the maximum of 4294967295"),
        ("simulate", {"patches": 10**4000}, "simulate.patches: 1000"),
        ("scenes", [{"name": "a\n"}], "holds the invisible character"),
        ("scenes", [{"name": "../a"}], "'../a' does not match"),
        ("scenes", [{"name": "-rf"}], "'-rf' does not match"),
        ("scenes", [{"name": "a" * 101}], "is too long"),
        ("scenes", [DEMO["scenes"][0], DEMO["scenes"][0] | {"name": "UNSEEN"}], "two scenes have this name"),
        ("models", {"a" * 61: {"architecture": "Unet", "encoder": "resnet18"}}, "is too long"),
    ],
)  # fmt: skip
def test_what_would_break_later_is_said_now(path, value, said):
    with pytest.raises(ConfigError) as caught:
        check_config({**DEMO, path: value}, SCHEMA)
    assert said in str(caught.value)


@given(name=st.one_of(texts, st.from_regex("[a-z]+-[a-z]+-[a-z]+-l[12]-[a-z]+-\\d+", fullmatch=True)))
def test_any_text_as_a_scenario_is_one_or_refused(name) -> None:
    try:
        assert parse(name).id.rpartition("-")[0] == name.rpartition("-")[0]
    except ConfigError as error:
        assert "expected the form" in str(error) or "is unknown; allowed" in str(error)


def dry_run(folder, text):
    """What the user sees: the end of ``snakemake -n`` with a configuration."""
    (folder / "odd.yaml").write_text(text)
    command = [sys.executable, "-m", "snakemake", "-n", "--cores", "1", "-d", folder, "-s", REPOSITORY / "Snakefile"]
    command += ["--configfile", folder / "odd.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, text=True, capture_output=True, timeout=60, check=False, env=environment)
    assert done.returncode == 1
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (TEXT + "source: simulate\n", "duplicate key"),
        (TEXT + "label: !!python/name:os.system\n", "python/name:os.system"),
        (TEXT + "on: 1\n", "the key True is no text"),
        (TEXT + '\nlabel: "a\\u202eb"\n', "holds the invisible character U+202E"),
    ],
)
def test_the_user_sees_the_message_and_no_traceback(tmp_path, text, shown):
    output = dry_run(tmp_path, text)
    assert shown in output and "Traceback" not in output
