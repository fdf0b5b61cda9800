"""Patches that must not lie in different parts: they overlap, or show the same labelled polygon."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cerraseg.config.dataset import Dataset, Level
from cerraseg.core.errors import DataError
from cerraseg.core.logs import log, progress
from cerraseg.core.processes import process_map
from cerraseg.core.taxonomy import IGNORE
from cerraseg.data.masks import read_positions
from cerraseg.geo.images import open_mask
from cerraseg.geo.positions import COLUMNS, Places, locate, overlaps

SAME_GROUND = 0.9
"""Share of a patch from which on another one that covers it shows the same ground."""

_CHUNK = 256  # pairs that a worker compares at a time
_Row = Mapping[Hashable, Any]  # of the patch table


def separate(table: pd.DataFrame, places: Places, parts: NDArray[np.str_], buffer: str) -> NDArray[np.str_]:
    """Return ``parts`` without conflicts: patches beside one of a part that goes before theirs become ``buffer``.

    Test patches go before validation patches, these before training patches. Two patches are beside each other where
    they overlap or show the same labelled polygon.
    """
    found, pairs = parts.copy(), overlaps(places)[0]
    polygons: list[set[tuple[str, int]]] = [set() for _ in range(len(table))]
    if "polygons" in table:
        shown_by = zip(table["area"], table["polygons"], strict=True)
        polygons = [{(area, polygon) for polygon in shown} for area, shown in shown_by]
    for part, before in (("validation", ["test"]), ("train", ["test", "validation"])):
        taken = np.isin(found, before)
        beside = np.zeros(len(parts), bool)
        beside[pairs[taken[pairs[:, 1]], 0]] = True
        beside[pairs[taken[pairs[:, 0]], 1]] = True
        shown = set().union(*(polygons[row] for row in np.flatnonzero(taken)))
        beside |= [not shown.isdisjoint(own) for own in polygons]
        found[beside & (found == part)] = buffer
    if (moved := found != parts).any():
        listed = ", ".join(f"{count} {part}" for part, count in Counter(parts[moved].tolist()).items())
        log.info("split: %s patches overlap, or share a labelled polygon with, one of another part: unused", listed)
    return found


def check_parts(table: pd.DataFrame, parts: NDArray[np.str_], published: bool) -> None:
    """Check the part of each patch (N,) of a split that does not go by place.

    Raises:
        DataError: if windows that overlap, or patches of the same ground, lie in different parts. Of other patches, or
            in the ``published`` split, which nothing may change, overlaps are logged.
    """
    places = locate(table[COLUMNS])
    pairs, shares = overlaps(places)
    apart = parts[pairs[:, 0]] != parts[pairs[:, 1]]
    if not apart.any():
        return
    worst = int(np.argmax(np.where(apart, shares, -1)))
    one, other = (places.ids[row] for row in pairs[worst])
    told = (
        f"split.scheme paper: {apart.sum()} pairs of overlapping patches lie in different parts; the worst are {one} "
        f"and {other}, which share {shares[worst]:.0%} of their ground"
    )
    if ("area" in table or shares[worst] >= SAME_GROUND) and not published:
        raise DataError(f"{told}; expected ground of its own for each part: take split.scheme blocks or sites")
    log.warning("%s: scores of such patches are better than on ground that was never seen", told)


def report_contradictions(table: pd.DataFrame, dataset: Dataset, levels: Sequence[str], threads: int) -> None:
    """Warn of patches that overlap and contradict each other in their labels, with the ids of the worst pair."""
    pairs, _ = overlaps(locate(table[COLUMNS]))
    rows = table[["id", *"abcdef", *levels]].to_dict("records")
    told = [(rows[one], rows[other]) for one, other in pairs.tolist()]
    _positions.cache_clear()  # files may have changed since
    chunks = [told[start : start + _CHUNK] for start in range(0, len(told), _CHUNK)]
    for level in (dataset.levels[name] for name in levels if told):
        found = progress(process_map(partial(_contradicting, level), chunks, threads), "overlaps", len(chunks))
        shares = [share for chunk in found for share in chunk]
        worst = int(np.argmax(shares))
        if shares[worst]:
            one, other = told[worst]
            log.warning(
                "%s: %d of %d pairs of overlapping patches contradict each other; patches %s and %s on %.0f %% of "
                "their common ground: look which is right",
                level.name, np.count_nonzero(shares), len(pairs), one["id"], other["id"], 100 * shares[worst],
            )  # fmt: skip


def _contradicting(level: Level, pairs: Sequence[tuple[_Row, _Row]]) -> list[float]:
    """Share of the common labelled pixels with different classes of each pair; 0 where grids do not fit."""
    return [_contradiction(level, *pair) for pair in pairs]


def _contradiction(level: Level, one: _Row, other: _Row) -> float:
    if one["b"] or one["d"] or (one["a"], one["e"]) != (other["a"], other["e"]):
        return 0.0
    rows, columns = round((other["f"] - one["f"]) / one["e"]), round((other["c"] - one["c"]) / one["a"])
    masks = [_positions(level, row[level.name]) for row in (one, other)]
    height, width = masks[0].shape
    first = masks[0][max(rows, 0) : height + min(rows, 0), max(columns, 0) : width + min(columns, 0)]
    second = masks[1][max(-rows, 0) : height + min(-rows, 0), max(-columns, 0) : width + min(-columns, 0)]
    labelled = (first != IGNORE) & (second != IGNORE)
    return float(((first != second) & labelled).sum() / max(1, labelled.sum()))


@lru_cache(maxsize=512)
def _positions(level: Level, path: str) -> NDArray[np.uint8]:
    with open_mask(Path(path), level.name) as mask:
        return read_positions(mask, level, path)[1]
