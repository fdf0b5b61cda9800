"""Hold a configuration to plain values: what a reader takes silently, or in another sense than the writer's."""

import json
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from cerraseg.core.errors import ConfigError

MOST_BYTES = 1_000_000
"""Largest configuration file."""

MOST_VALUES = 100_000
"""Most values in a file once its aliases are filled in: nine aliases of nine make a billion of a few hundred bytes."""

MOST_DEPTH = 50

_NAME_BYTES = 255  # no file system takes a longer name
_LARGEST = 1 << 63
_TAG = "tag:yaml.org,2002:"
_TAGS = {_TAG + name for name in ("str", "int", "float", "bool", "null", "seq", "map", "timestamp", "merge")}
_TURNING = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}
"""Code points that turn the direction of writing: text then reads as another one."""


def check_yaml(path: Path) -> None:
    """Read a configuration file again, strictly: Snakemake takes the last of two equal keys without a word.

    Raises:
        ConfigError: with file and line, if the file is no YAML or JSON in UTF-8, has a key twice, a key that is no
            text, a tag or an expression, or aliases that lead to itself or to more than :data:`MOST_VALUES`.
    """
    try:
        text = _text(path)
        if not _json(path, text):
            _expand(path, yaml.compose(text, yaml.SafeLoader), {}, [])
            yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        where = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{path}{where}: {error.problem}; expected YAML, indented by spaces") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}; expected YAML") from None
    except (ValueError, AttributeError, LookupError) as error:  # a date or a number that is none, or empty
        raise ConfigError(f"{path}: {error}; expected plain values: put such a text in quotes") from None
    except RecursionError:
        raise ConfigError(f"{path}: nested too deep; expected at most {MOST_DEPTH} levels") from None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ConfigError(f"{path}: over {MOST_BYTES:,} bytes; expected one of a few thousand")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); correct the path or its permissions") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}, line {line}: not UTF-8; save the file in that encoding") from None


def _json(path: Path, text: str) -> bool:
    """Whether it is JSON, which may be indented by tabs as YAML may not."""

    def once(pairs: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in pairs]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"{path}: {', '.join(twice)} stands in one place twice; expected it once: take one out")

    try:
        json.loads(text, object_pairs_hook=once)
    except ValueError:
        return False
    return True


def _expand(path: Path, node: Node | None, sizes: dict[int, int], above: list[Node]) -> int:
    """How many values a node stands for; ``sizes`` has those that were met, ``above`` those that hold this one."""
    if node is None or id(node) in sizes:
        return sizes[id(node)] if node else 0
    if any(node is other for other in above):
        raise _fault(path, node, "an alias leads to what holds it; expected values that end")
    if len(above) > MOST_DEPTH:
        raise _fault(path, node, f"nested too deep; expected at most {MOST_DEPTH} levels")
    if node.tag not in _TAGS:
        raise _fault(path, node, f"the tag {node.tag.replace(_TAG, '!!')}; expected plain values: take it out")
    if isinstance(node, MappingNode):
        _check_keys(path, node)
    size = 1 + sum(_expand(path, part, sizes, [*above, node]) for part in _parts(node))
    if size > MOST_VALUES:
        raise _fault(path, node, f"its aliases stand for over {MOST_VALUES:,} values; write out what is meant")
    sizes[id(node)] = size
    return size


def _parts(node: Node) -> Iterator[Node]:
    if isinstance(node, MappingNode):
        yield from (value for _, value in node.value)
    elif isinstance(node, SequenceNode):
        yield from node.value


def _check_keys(path: Path, node: MappingNode) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, ScalarNode) or key.tag not in (_TAG + "str", _TAG + "merge"):
            shown = key.value if isinstance(key, ScalarNode) else "here"
            read = f"the key {shown} is read as {key.tag.removeprefix(_TAG)}"
            raise _fault(path, key, f"{read}; expected text: put it in quotes")
        if key.value == "__use_yte__":
            raise _fault(path, key, "expressions are not allowed, as they run code; write out what is meant")
        if key.value in lines:
            first = lines[key.value]
            raise _fault(path, key, f"{key.value} stands here and in line {first}; expected it once: take one out")
        lines[key.value] = key.start_mark.line + 1


def _fault(path: Path, node: Node, what: str) -> ConfigError:
    return ConfigError(f"{path}, line {node.start_mark.line + 1}: {what}")


def check_values(value: Any, where: str = "", depth: int = 0) -> None:
    """Refuse values that pass every schema and break what comes after it.

    Raises:
        ConfigError: for a key that is no text, a text with control characters or a part, between slashes, of more than
            255 bytes, a number that is none, infinite or too large, and for what is nested too deep.
    """
    named = where or "configuration"
    if depth > MOST_DEPTH:
        raise ConfigError(f"{named[:200]} ...: nested too deep; expected at most {MOST_DEPTH} levels")
    if isinstance(value, Mapping):
        for key, part in value.items():
            if not isinstance(key, str):
                raise ConfigError(f"{named}: the key {_shown(key)} is no text; expected text: put it in quotes")
            check_values(key, f"a key of {named}", depth + 1)
            check_values(part, f"{where}.{key}" if where else key, depth + 1)
    elif isinstance(value, list):
        for place, part in enumerate(value):
            check_values(part, f"{named}.{place}", depth + 1)
    elif isinstance(value, str):
        _check_text(value, named)
    elif isinstance(value, int | float) and not abs(value) < _LARGEST:
        raise ConfigError(f"{named}: {_shown(value)}; expected a finite number below 2^63")


def _check_text(text: str, where: str) -> None:
    for sign in text:
        if unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") or ord(sign) in _TURNING:
            raise ConfigError(
                f"{where}: {text[:80]!r} holds the invisible character U+{ord(sign):04X}; expected text: write it anew"
            )
    if any(len(part.encode()) > _NAME_BYTES for part in text.split("/")):
        raise ConfigError(f"{where}: {text[:80]!r}...: too long; expected names of at most {_NAME_BYTES} bytes")


def _shown(value: Any) -> str:
    return "too long to be shown" if isinstance(value, int) and abs(value) >= _LARGEST else repr(value)[:80]
