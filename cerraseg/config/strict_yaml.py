"""Refuse configurations that a reader takes silently or in another sense than the writer's."""

import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from cerraseg.core.errors import ConfigError

_MOST_DEPTH = 50
_NAME_BYTES = 255  # no file system takes a longer name
_LARGEST = 1 << 63
_INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")  # categories of Unicode; some show a text as another one


def check_yaml(path: Path) -> None:
    """Raise :class:`ConfigError` with the line for tags, expressions, keys given twice and what is no YAML in UTF-8."""
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); correct the path or its permissions") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}, line {line}: not UTF-8; save the file in that encoding") from None
    except MarkedYAMLError as error:
        where = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{path}{where}: {error.problem}; expected plain YAML, each key once") from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}; expected plain YAML") from None
    if isinstance(content, Mapping) and "__use_yte__" in content:
        raise ConfigError(f"{path}: __use_yte__: expressions run code and are not allowed; write out what is meant")


def check_values(value: Any, where: str = "", depth: int = 0) -> None:
    """Raise :class:`ConfigError` for values that pass every schema and fail later, such as NaN or an invisible sign."""
    named = where or "configuration"
    if depth > _MOST_DEPTH:
        raise ConfigError(f"{named[:200]} ...: nested too deep; expected at most {_MOST_DEPTH} levels")
    if isinstance(value, Mapping):
        for key, part in value.items():
            if not isinstance(key, str):
                raise ConfigError(f"{named}: the key {key!r:.80} is no text; expected text: put it in quotes")
            check_values(key, f"a key of {named}", depth + 1)
            check_values(part, f"{where}.{key}" if where else key, depth + 1)
    elif isinstance(value, list):
        for place, part in enumerate(value):
            check_values(part, f"{named}.{place}", depth + 1)
    elif isinstance(value, str):
        _check_text(value, named)
    elif isinstance(value, int | float) and not abs(value) < _LARGEST:
        raise ConfigError(f"{named}: {value!r:.80}; expected a finite number below 2^63")


def _check_text(text: str, where: str) -> None:
    for sign in text:
        if unicodedata.category(sign) in _INVISIBLE:
            raise ConfigError(
                f"{where}: {text[:80]!r} holds the invisible character U+{ord(sign):04X}; expected text: write it anew"
            )
    if any(len(part.encode()) > _NAME_BYTES for part in text.split("/")):
        raise ConfigError(f"{where}: {text[:80]!r}...: too long; expected names of at most {_NAME_BYTES} bytes")
