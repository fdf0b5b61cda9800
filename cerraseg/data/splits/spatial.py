"""Splits by place: whole blocks or sites go to a part, stratified by class, and a buffer lies around training."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.warp import transform

from cerraseg.config.dataset import Dataset
from cerraseg.core.errors import DataError
from cerraseg.core.logs import log
from cerraseg.data.splits.conflicts import separate
from cerraseg.data.splits.distances import connected, nearest
from cerraseg.data.splits.stratify import Partition, share_out
from cerraseg.data.tables import layers_of
from cerraseg.geo.positions import Ints, Places, locate, utm_zone
from cerraseg.geo.rasters import WGS84

BUFFER = "buffer"
"""The part of training patches that lie too near to validation or test patches; they are not used."""

Names = NDArray[np.str_]
Parts = NDArray[np.str_]
Columns = dict[str, Sequence[object]]
"""Columns of the split table beside the id."""


def blocks(places: Places, block_km: float) -> Names:
    """Name the block that holds each patch's centre, as ``EPSG:32723/45/-12``: system, column, row of the cell, (N,).

    Cells are squares of ``block_km`` km in the patch's own system where that is metric, else in its UTM zone.
    """
    left, bottom, right, top = places.bounds.T
    x, y = (left + right) / 2, (bottom + top) / 2
    short = {crs: crs if len(crs) < 20 else "crs" + hashlib.sha256(crs.encode()).hexdigest()[:8] for crs in places.crs}
    systems = np.array([short[crs] for crs in places.crs], object)
    zones = utm_zone(places.degrees)
    for zone in np.unique(zones[~places.metric]).tolist():
        rows = ~places.metric & (zones == zone)
        systems[rows] = f"EPSG:{zone}"
        x[rows], y[rows] = transform(WGS84, CRS.from_epsg(zone), *places.degrees[rows].T)
    cells = np.floor(np.stack([x, y], axis=1) / (1000 * block_km)).astype(np.int64).tolist()
    return np.array([f"{system}/{column}/{row}" for system, (column, row) in zip(systems, cells, strict=True)])


def outline(block: str) -> tuple[str, Ints]:
    """Return the coordinate system of a block, and the columns and rows of its corners in blocks, (4, 2)."""
    system, column, row = block.rsplit("/", 2)
    corner = np.array([int(column), int(row)])
    return system, corner + np.array([[0, 0], [1, 0], [1, 1], [0, 1]])


def sites(places: Places, gap_km: float) -> Names:
    """Name the site of each patch, ``site 1`` onwards in the order of their first patches, (N,).

    Two patches are of one site if the gap between them is at most ``gap_km`` km, and so are all that these connect.
    """
    numbers = np.unique(connected(places, 1000 * gap_km), return_inverse=True)[1]
    return np.array([f"site {number + 1}" for number in numbers.tolist()])


class Patches:
    """The patches of a patch table in its order: places, pixels of each class of the finest level, paths."""

    def __init__(self, table: pd.DataFrame, dataset: Dataset) -> None:
        self.table = table
        self.level = dataset.levels[layers_of(table.columns, dataset)[1][-1]]
        self.counts: Ints = table[self.level.count_columns()].to_numpy(np.int64)
        self.places: Places = locate(table)
        self.paths = table[[layer for layer in dataset.folders if layer in table]].astype(str)

    def summed(self, member: Ints) -> tuple[Ints, Ints]:
        """Pixels of each class (G, K) and number of patches (G,) of each group, by the group of each patch (N,)."""
        sizes = np.bincount(member)
        counts = np.zeros((len(sizes), self.counts.shape[1]), np.int64)
        np.add.at(counts, member, self.counts)
        return counts, sizes


def by_blocks(table: pd.DataFrame, dataset: Dataset, *shares_and_seeds: Any, block_km: float, **limits: Any) -> Columns:
    """Assign whole blocks to parts. See :func:`in_groups`."""
    patches = Patches(table, dataset)
    return in_groups(patches, blocks(patches.places, block_km), *shares_and_seeds, **limits)


def by_sites(
    table: pd.DataFrame,
    dataset: Dataset,
    *shares_and_seeds: Any,
    site_gap_km: float,
    test_sites: Sequence[str],
    validation_sites: Sequence[str],
    **limits: Any,
) -> Columns:
    """Assign whole sites to parts, those of patches whose path fits a pattern (``fnmatch``) to the pattern's part.

    See :func:`in_groups`.
    """
    patches = Patches(table, dataset)
    names = sites(patches.places, site_gap_km)
    given = {"test": test_sites, "validation": validation_sites}
    fixed = {part: _sites_of(patches.paths, names, part, patterns) for part, patterns in given.items() if patterns}
    if len(fixed) == 2 and (both := np.intersect1d(fixed["test"], fixed["validation"])).size:
        raise DataError(
            f"split: test_sites and validation_sites both fit {', '.join(map(str, both))}; expected one part per site: "
            "change the patterns, or site_gap_km, by which patches are of one site"
        )
    return in_groups(patches, names, *shares_and_seeds, fixed=fixed, **limits)


def by_folds(
    table: pd.DataFrame,
    dataset: Dataset,
    shares: object,
    seed: int,
    _: object,
    *,
    unit: str,
    folds: int,
    tolerance: float,
    **size: float,
) -> Columns:
    """Assign whole blocks or sites (``unit``) to folds, 1 to ``folds``: columns ``split``, ``group`` and ``fold``.

    Every patch is a test patch, in its fold; shares and validation seed are for
    :func:`cerraseg.data.splits.assign.write_fold`. ``size`` is ``block_km`` or ``site_gap_km``.
    """
    patches = Patches(table, dataset)
    names = blocks(patches.places, size["block_km"]) if unit == "blocks" else sites(patches.places, size["site_gap_km"])
    groups, member = np.unique(names, return_inverse=True)
    wanted = {f"fold {number}": 1 / folds for number in range(1, folds + 1)}
    task = Partition(*patches.summed(member), [*wanted.values()], tolerance)
    fold = share_out(task, np.random.default_rng(seed))[member]
    found = np.array([*wanted])[fold]
    _check(found, wanted, tolerance, len(groups))
    _warn(patches, found, wanted)
    log.info("%d %s in %d folds", len(groups), unit, folds)
    return {"split": ["test"] * len(fold), "group": names.tolist(), "fold": (fold + 1).tolist()}


def in_groups(
    patches: Patches,
    names: Names,
    shares: Mapping[str, float],
    seed: object,
    validation_seed: object,
    *,
    buffer_km: float,
    tolerance: float,
    fixed: Mapping[str, Names] = MappingProxyType({}),
) -> Columns:
    """Split by whole groups, stratified by class: columns ``split`` and ``group`` of the split table.

    Args:
        names: group of each patch, (N,).
        shares: wanted share of each of ``train``, ``validation`` and ``test``.
        seed, validation_seed: of the test part, and of the validation part.
        buffer_km: training patches whose gap to a validation or test patch is at most this become ``buffer``; 0: none.
        tolerance: how far a part's share of the patches, before the buffer, may be off.
        fixed: part → groups that belong to it; the others share what these leave, by ``shares``.

    Raises:
        DataError: if a part is empty or off by more, or the buffer leaves no training patch.
    """
    groups, member = np.unique(names, return_inverse=True)
    parts = np.full(len(groups), "train", dtype="U10")
    for part, chosen in fixed.items():
        parts[np.isin(groups, chosen)] = part
    left = float((parts[member] == "train").mean())
    open_shares = {part: share for part, share in shares.items() if part not in fixed}
    wanted = {part: share / sum(open_shares.values()) * left for part, share in open_shares.items()}
    for part, its_seed in (("test", seed), ("validation", validation_seed)):
        if part in open_shares:
            _take(patches, member, parts, part, open_shares, tolerance, its_seed)
            del open_shares[part]
    _check(parts[member], wanted, tolerance, len(groups))
    found = separate(patches.table, patches.places, _buffered(patches.places, parts[member], buffer_km), BUFFER)
    if empty := [part for part in wanted if not (found == part).any()]:
        raise DataError(
            f"split: patches that overlap others, or share a labelled polygon with them, leave {' and '.join(empty)} "
            "empty; expected some that stand alone: take larger blocks, or a larger tiling.stride"
        )
    _warn(patches, found, shares)
    return {"split": found.tolist(), "group": names.tolist()}


def _take(
    patches: Patches, member: Ints, parts: Parts, part: str, shares: Mapping[str, float], tolerance: float, seed: object
) -> None:
    """Give ``part`` its share of the groups that are still with ``train``, in place."""
    free = np.flatnonzero(parts == "train")
    if not len(free):
        return
    counts, sizes = patches.summed(member)
    share = shares[part] / sum(shares.values())
    allowed = tolerance / 2 * len(member) / sizes[free].sum()  # both divisions go at the expense of training
    task = Partition(counts[free], sizes[free], [share, 1 - share], allowed, [1, len(shares) - 1])
    taken = share_out(task, np.random.default_rng(seed))  # type: ignore[arg-type]
    parts[free[taken == 0]] = part


def _sites_of(paths: pd.DataFrame, names: Names, part: str, patterns: Sequence[str]) -> Names:
    fitting = np.zeros(len(paths), bool)
    for pattern in patterns:
        fits = paths.map(lambda path, pattern=pattern: fnmatchcase(path, pattern)).to_numpy().any(axis=1)
        if not fits.any():
            raise DataError(
                f"split.{part}_sites: {pattern!r} fits no patch's path; expected a pattern such as '*/denmark/*', and "
                f"paths are such as {paths.iat[0, 0]!s}: correct the pattern"
            )
        fitting |= fits
    chosen = np.unique(names[fitting])
    log.info("%s: %d sites of %d patches", part, len(chosen), int(np.isin(names, chosen).sum()))
    return chosen


def _buffered(places: Places, parts: Parts, buffer_km: float) -> Parts:
    """``parts`` with training patches within the buffer as :data:`BUFFER`."""
    if not buffer_km:
        return parts
    train, others = np.flatnonzero(parts == "train"), np.flatnonzero(parts != "train")
    near = nearest(places, train, others)[0] <= 1000 * buffer_km
    if near.all():
        raise DataError(
            f"split.buffer_km: all {len(train)} training patches lie within {buffer_km:g} km of validation or test "
            "patches; expected some farther away: take a smaller buffer_km, or larger blocks"
        )
    return np.where(np.isin(np.arange(len(parts)), train[near]), BUFFER, parts)


def _check(found: Parts, wanted: Mapping[str, float], tolerance: float, groups: int) -> None:
    reached = {part: float((found == part).mean()) for part in wanted}
    if all(share and abs(share - wanted[part]) <= tolerance + 1e-9 for part, share in reached.items()):
        return
    listed = ", ".join(f"{part} {reached[part]:.3f} (wanted {share:.3f})" for part, share in wanted.items())
    raise DataError(
        f"split: the {groups} groups of patches give these shares: {listed}; expected none empty and each within "
        f"{tolerance:g} of the wanted. Take a smaller block_km or site_gap_km, more patches, other shares (or folds), "
        "other sites, or a larger tolerance"
    )


def _warn(patches: Patches, found: Parts, parts: Iterable[str]) -> None:
    present = patches.counts.any(axis=0)
    for part in parts:
        lacks = present & ~patches.counts[found == part].any(axis=0)
        if named := ", ".join(patches.level.classes[number].name for number in np.flatnonzero(lacks)):
            log.warning("%s holds no pixel of: %s", part, named)
