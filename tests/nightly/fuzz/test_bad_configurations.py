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


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
SAID = {
    "source: simulate\nsource: local\n": "line 2: source stands here and in line 1",
    "training:\n  epochs: 1\n  batch_size: 2\n  epochs: 3\n": "line 4: epochs stands here and in line 2",
    '{"source": "simulate", "source": "local"}': "source stands in one place twice",
    LAUGHS: "its aliases stand for over 100,000 values",
    "a: &a [*a]\n": "an alias leads to what holds it",
    "a: &a {b: *a}\n": "an alias leads to what holds it",
    "yes: 1\n": "the key yes is read as bool; expected text: put it in quotes",
    "1: 1\n": "the key 1 is read as int",
    "? [a, b]\n: 1\n": "the key here is read as seq",
    "~: 1\n": "the key ~ is read as null",
    "a: !!python/object/apply:os.system [id]\n": "the tag !!python/object/apply:os.system; expected plain values",
    "a: !!python/name:os.system\n": "the tag !!python/name:os.system; expected plain values",
    "a: !!int\n": "expected plain values: put such a text in quotes",
    "a: !x 1\n": "the tag !x; expected plain values",
    "a: !!set {b}\n": "the tag !!set; expected plain values",
    "__use_yte__: true\n?if True:\n  a: 1\n": "expressions are not allowed, as they run code",
    "a:\n\tb: 1\n": "line 2: found character '\\t' that cannot start any token; expected YAML, indented by spaces",
    "a: [\n": "line 2: expected the node content, but found '<stream end>'",
    "a: 1\n---\nb: 1\n": "line 2: but found another document",
    "a: \0\n": "special characters are not allowed",
    "a: " + "[" * 5000: "nested too deep",
    "a: " + "[" * 60 + "]" * 60: "nested too deep",
    "a: " + "x" * 1_000_000: "over 1,000,000 bytes",
}


@pytest.mark.parametrize("text", SAID, ids=range(len(SAID)))
def test_files_that_no_reader_should_take_are_refused_with_the_line(cell: Cell, tmp_path: Path, text: str) -> None:
    (tmp_path / "odd.yaml").write_text(text)
    outcome = cell.run(loaded, tmp_path / "odd.yaml")
    assert outcome.kind == "refused", outcome.told
    assert SAID[text] in outcome.told and str(tmp_path / "odd.yaml") in outcome.told


def test_files_of_other_encodings_are_refused_with_the_line(cell: Cell, tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("source: simulate\nlabel: São Félix\n".encode("latin-1"))
    assert "latin.yaml, line 2: not UTF-8" in cell.run(loaded, tmp_path / "latin.yaml").told
    assert cell.run(loaded, tmp_path).kind == "refused"
    (tmp_path / "mark.yaml").write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    assert cell.run(loaded, tmp_path / "mark.yaml").kind == "taken"
    (tmp_path / "tabs.json").write_text(json.dumps(DEMO, indent="\t"))
    assert cell.run(loaded, tmp_path / "tabs.json").kind == "taken"


def test_anchors_and_merges_that_say_one_thing_are_taken(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text("a: &a {b: 1}\nc: {<<: *a, d: 2}\ne: [*a, *a]\n")
    check_yaml(tmp_path / "good.yaml")
    for path in (REPOSITORY / "config").glob("*.yaml"):
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
    "",
    " ",
    ".",
    "..",
    "../..",
    "/",
    "-rf",
    "~",
    "$HOME",
    "$NONE",
    "%s",
    "{}",
    "{x}",
    "*",
    "con",
    "nul",
    "a\nb",
    "a\0b",
]
HOLLOW += [
    "e\u0301",
    "\u202eabc",
    "\ud800",
    "🛰️",
    "ñ" * 200,
    "x" * 300,
    "x" * 5000,
    "[1",
    "2001-99-99",
    "1e3",
    "yes",
    "off",
]
HOLLOW += [
    "unet",
    "paper",
    "²",
    "unet-concat-nw-l1-paper-²",
    "unet-concat-nw-l1-paper-99999999999999",
    "[" * 5000,
    "!!timestamp x",
]
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
        ("simulate", {"patches": 10**4000}, "simulate.patches: too long to be shown; expected a finite number"),
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


def test_a_whole_float_counts():
    config, _ = check_config({**DEMO, "training": {"epochs": 5.0}}, SCHEMA)
    assert repr(config["training"]["epochs"]) == "5"


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


@pytest.mark.drill
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TEXT + "source: simulate\n", "source stands here and in line"),
        (TEXT + LAUGHS, "its aliases stand for over 100,000 values"),
        (TEXT + "label: !!python/name:os.system\n", "!!python/name:os.system; expected plain values"),
        (TEXT + "on: 1\n", "the key on is read as bool; expected text: put it in quotes"),
        (TEXT + '\nlabel: "a\\u202eb"\n', "holds the invisible character U+202E"),
    ],
)
def test_the_user_sees_the_message_and_no_traceback(tmp_path, text, said):
    seen = dry_run(tmp_path, text)
    assert said in seen and "Traceback" not in seen
