"""Bands by name: which of a file's bands is which."""

import re
from collections.abc import Sequence
from functools import lru_cache

_GENERIC = re.compile(r"((band|layer|channel)[ _:-]*)?\d*", re.IGNORECASE)  # what programs call bands without a name


def standard_name(name: str | None) -> str:
    """Return a band's name in one spelling: capitals, ``B01`` for ``b1``."""
    text = (name or "").strip().upper()
    return f"B0{text[1]}" if len(text) == 2 and text[0] == "B" and text[1].isdigit() else text


def by_file_name(stem: str, wanted: Sequence[str]) -> str | None:
    """Return the one wanted band that a part of a file's name gives (``T22LGH_B02_10m``), or None."""
    parts = {standard_name(part) for part in re.split(r"[^A-Za-z0-9]+", stem)}
    found = [band for band in wanted if standard_name(band) in parts]
    return found[0] if len(found) == 1 else None


@lru_cache
def match(wanted: tuple[str, ...], names: tuple[str | None, ...], *, alpha: bool) -> tuple[int, ...]:
    """Return the place of each wanted band among ``names``, the descriptions of a file's bands.

    Where no description is a name, the bands are taken in the file's order and must be as many as wanted, beside a last
    one that is said to be transparency (``alpha``).

    Raises:
        ValueError: if the descriptions do not give each wanted band once, or there are too few bands or too many.
    """
    ours, theirs = [standard_name(name) for name in wanted], [standard_name(name) for name in names]
    described = [name for name in theirs if name in ours or not _GENERIC.fullmatch(name)]
    if not described:
        if len(names) != len(wanted) + alpha:
            raise ValueError(f"it has {len(names)} bands without descriptions, not {len(wanted)}")
        return tuple(range(len(wanted)))
    if missing := [name for name in ours if theirs.count(name) != 1]:
        listed = ", ".join(name or "(no description)" for name in names)
        raise ValueError(f"it has the bands {listed}, so {', '.join(missing)} is missing or there twice")
    return tuple(theirs.index(name) for name in ours)
