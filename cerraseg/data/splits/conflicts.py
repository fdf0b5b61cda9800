"""Patches that must not lie in different parts: they overlap, or show the same labelled polygon."""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache, partial
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cerraseg.config.dataset import Dataset, Level
from cerraseg.core.logs import log, progress
from cerraseg.core.processes import process_map
from cerraseg.core.taxonomy import IGNORE
from cerraseg.data.splits.overlaps import overlaps
from cerraseg.geo.images import read_mask
from cerraseg.geo.positions import COLUMNS, Ints, Places, locate

SAME_GROUND = 0.9
"""Share of a patch from which on another one that covers it shows the same ground."""

_RANKS = {"test": 3, "validation": 2, "train": 1}  # of two parts in conflict, the higher keeps its patch
_CHUNK = 256  # pairs that a worker compares at a time


def conflicts(table: pd.DataFrame, places: Places) -> Ints:
    """Find the pairs of rows (M, 2) of a patch table that overlap or show the same labelled polygon."""
    pairs = [overlaps(places)[0]]
    if "polygons" in table:
        shown: dict[tuple[str, int], list[int]] = {}
        for row, (area, polygons) in enumerate(zip(table["area"], table["polygons"], strict=True)):
            for polygon in polygons:
                shown.setdefault((area, polygon), []).append(row)
        further = [pair for rows in shown.values() for pair in combinations(rows, 2)]
        pairs.append(np.array(further, np.int64).reshape(-1, 2))
    return np.unique(np.concatenate(pairs), axis=0)


def separate(table: pd.DataFrame, places: Places, parts: NDArray[np.str_], buffer: str) -> NDArray[np.str_]:
    """Return ``parts`` without conflicts: of two patches in different parts, one becomes ``buffer``, used by nobody.

    A test patch goes before a validation patch, and that before a training patch.
    """
    found = parts.copy()
    rank = np.array([_RANKS.get(part, 0) for part in parts])
    pairs = conflicts(table, places)
    ranks = rank[pairs]
    apart = pairs[(ranks[:, 0] != ranks[:, 1]) & (ranks > 0).all(axis=1)]
    if len(apart):
        lower = np.where(rank[apart[:, 0]] < rank[apart[:, 1]], apart[:, 0], apart[:, 1])
        # Validation patches go first: training patches beside one that is gone can stay.
        gone = set(lower[rank[lower] == 2].tolist())
        kept = [row for row, pair in zip(lower, apart, strict=True) if rank[row] == 1 and not gone & set(pair.tolist())]
        rows = np.array(sorted(gone | set(map(int, kept))))
        found[rows] = buffer
        counts = Counter(parts[rows].tolist())
        listed = ", ".join(f"{count} {part}" for part, count in counts.items())
        log.info("split: %s patches overlap, or share a labelled polygon with, patches of another part: unused", listed)
    return found


def check_parts(table: pd.DataFrame, parts: NDArray[np.str_], published: bool) -> None:
    """Check a split that does not go by place: windows that conflict, or patches of one ground, in different parts.

    Overlaps of patches that are files are told; the split may be wanted as it is, and the scores tell them apart.

    Args:
        table: patch table.
        parts: part of each patch, (N,).
        published: whether the split is the published one of the built-in data set, which nothing may change.

    Raises:
        DataError: for windows of an area, and for patches of the same ground, but those of the published split.
    """
    places = locate(table[COLUMNS])
    pairs, shares = overlaps(places)
    apart = parts[pairs[:, 0]] != parts[pairs[:, 1]] if len(pairs) else np.zeros(0, bool)
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
    if not len(pairs):
        return
    columns = ["id", *"abcdef", *levels]
    rows = table[columns].to_dict("records")
    told = [(rows[one], rows[other]) for one, other in pairs.tolist()]
    chunks = [told[start : start + _CHUNK] for start in range(0, len(told), _CHUNK)]
    for level in (dataset.levels[name] for name in levels):
        job = partial(_contradicting, level)
        shares = [
            share for chunk in progress(process_map(job, chunks, threads), "overlaps", len(chunks)) for share in chunk
        ]
        if bad := [(share, pair) for share, pair in zip(shares, told, strict=True) if share > 0]:
            share, (one, other) = max(bad, key=lambda found: found[0])
            log.warning(
                "%s: %d of %d pairs of overlapping patches contradict each other; patches %s and %s on %.0f %% of their "
                "common ground: look which is right",
                level.name, len(bad), len(pairs), one["id"], other["id"], 100 * share,
            )  # fmt: skip


def _contradicting(level: Level, pairs: Sequence[tuple[dict[str, object], dict[str, object]]]) -> list[float]:
    """Share of the common labelled pixels with different classes of each pair; 0 where grids do not fit."""
    return [_contradiction(level, *pair) for pair in pairs]


def _contradiction(level: Level, one: dict[str, object], other: dict[str, object]) -> float:
    a, b, c, d, e, f = (float(one[key]) for key in "abcdef")  # type: ignore[arg-type]
    if b or d or (a, e) != (other["a"], other["e"]):
        return 0.0
    right, down = (float(other["c"]) - c) / a, (float(other["f"]) - f) / e  # type: ignore[arg-type]
    rows, columns = round(down), round(right)
    masks = [_positions(level, str(row[level.name])) for row in (one, other)]
    height, width = masks[0].shape
    first = masks[0][max(rows, 0) : height + min(rows, 0), max(columns, 0) : width + min(columns, 0)]
    second = masks[1][max(-rows, 0) : height + min(-rows, 0), max(-columns, 0) : width + min(-columns, 0)]
    if first.shape != second.shape or not first.size:
        return 0.0
    labelled = (first != IGNORE) & (second != IGNORE)
    return float(((first != second) & labelled).sum() / max(1, labelled.sum()))


@lru_cache(maxsize=512)
def _positions(level: Level, path: str) -> NDArray[np.uint8]:
    values, valid, _ = read_mask(Path(path), level.name)
    return np.where(valid, level.positions(values), np.uint8(IGNORE))
