"""Gaps between patches on the ground, and how far each test patch lies from the nearest training patch."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from cerraseg.core.errors import DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log
from cerraseg.geo.positions import COLUMNS, TRUE_SCALE, Floats, Ints, Places, locate
from cerraseg.data.tables import read_patch_table, read_split

TOUCHING = 0.5
"""Patches touch where no pixel fits between them: rounded coordinates, and the steps of 128.25 px of CerraData-4MM."""

_RADIUS = 6371008.8  # m, mean of the Earth
_CHUNK = 128  # patches that are compared with all others at a time
_CELL = 50_000.0  # m; patches of one cell are compared together
_FIRST, _FARTHER = 4, 8  # half diagonals that are looked at first, and how much farther each time
_SLACK = 1 + 2 * TRUE_SCALE  # lengths in a metric system against those on the ground


def write_distances(table: str | Path, splits: Sequence[str | Path], path: str | Path) -> None:
    """Write how far each test patch lies from the training patches (CSV), split table by split table.

    Columns: ``id``; ``metres``, the gap to the nearest training patch; ``centre_metres``, the distance from centre to
    centre of the nearest; ``touches``, whether it touches or overlaps one. In the order of the split tables.

    Args:
        table: patch table (Parquet).
        splits: split tables, each over the rows of the patch table: one, or one a fold.
        path: file to write.

    Raises:
        DataError: if a split table has no training or no test patch, or a patch has no place on Earth.
    """
    places = locate(read_patch_table(table, COLUMNS))
    found = []
    for split in splits:
        parts = read_split(split)["split"].to_numpy(np.str_)
        train, test = np.flatnonzero(parts == "train"), np.flatnonzero(parts == "test")
        if not len(train) or not len(test):
            raise DataError(
                f"{split}: {len(train)} training and {len(test)} test patches; expected some of both: split again"
            )
        metres, centres = nearest(places, test, train)
        columns = {
            "id": [places.ids[row] for row in test],
            "metres": metres.round(1),
            "centre_metres": centres.round(1),
        }
        found.append(pd.DataFrame(columns | {"touches": metres == 0}))
    frame = pd.concat(found, ignore_index=True)
    with atomic_write(path) as temporary:
        frame.to_csv(temporary, index=False)
    log.info(
        "%d of %d test patches touch a training patch; the median gap is %.0f m",
        *(frame["touches"].sum(), len(frame), frame["metres"].median()),
    )


def nearest(places: Places, of: Ints, among: Ints, within: float = np.inf) -> tuple[Floats, Floats]:
    """Gap of each patch ``of`` to the nearest ``among`` others, and distance of its centre to the nearest centre, in m.

    Both are infinite where nothing is near enough for a gap of ``within`` m. It looks near by first, then farther out.
    """
    gap, between = np.full(len(of), np.inf), np.full(len(of), np.inf)
    reach = _FIRST * float(places.outer.max())
    while (left := np.flatnonzero(np.isinf(gap))).size:
        reach = within if reach >= min(within, _RADIUS) else reach
        gap[left], between[left] = _nearest(places, of[left], among, reach)
        if reach == within:
            break
        reach *= _FARTHER
    return gap, between


def _nearest(places: Places, of: Ints, among: Ints, within: float) -> tuple[Floats, Floats]:
    gap, between = np.full(len(of), np.inf), np.full(len(of), np.inf)
    inner = places.sides.min(axis=1) / 2
    for rows, near, distance, lowest in _compared(places, of, among, within):
        chunk = of[rows]
        between[rows] = distance.min(axis=1)
        highest = (distance - inner[chunk, None] - inner[near]).min(axis=1).clip(0)
        row, column = np.nonzero(lowest <= np.minimum(highest * _SLACK + 1, within)[:, None])
        np.minimum.at(gap, rows[row], gaps(places, chunk[row], near[column]))
    gap[gap > within] = np.inf
    return gap, between


def connected(places: Places, within: float) -> Ints:
    """Number each patch by its site: patches whose gap is at most ``within`` m are of one, as are those they lead to.

    Single linkage. A site's number is the smallest row among its patches.
    """
    everyone = np.arange(len(places.ids))
    numbers = everyone.copy()
    for rows, near, distance, lowest in _compared(places, everyone, everyone, within):
        surely = distance * _SLACK <= within  # as the gap is smaller still
        for candidates in (surely, (lowest <= within) & ~surely):
            row, column = np.nonzero(candidates)
            pairs = np.stack([rows[row], near[column]])
            pairs = pairs[:, np.not_equal(*numbers[pairs])]
            if candidates is not surely:
                pairs = pairs[:, gaps(places, *pairs) <= within]
            _join(numbers, pairs)
    return numbers


def _join(numbers: Ints, pairs: Ints) -> None:
    """Give both of each pair (2, pairs) and all that have their numbers the smallest one, in place."""
    while (pairs := pairs[:, np.not_equal(*numbers[pairs])]).size:
        high, low = numbers[pairs].max(axis=0), numbers[pairs].min(axis=0)
        leads = np.arange(len(numbers))
        np.minimum.at(leads, high, low)
        while (further := leads[leads]).tobytes() != leads.tobytes():
            leads = further
        numbers[:] = leads[numbers]


def _compared(places: Places, of: Ints, among: Ints, within: float) -> Iterator[tuple[Ints, Ints, Floats, Floats]]:
    """Compare some patches at a time with those that a gap of ``within`` m allows.

    Yields positions in ``of`` (C,), rows of others (M,), distances of the centres (C, M) and, below them, of the gaps.
    """
    outer, margin = places.outer, within * _SLACK + 2 * places.outer.max()
    cells = np.floor(places.centre[of] / _CELL)
    order = np.lexsort(cells.T)
    for rows in np.array_split(order, -(-len(order) // _CHUNK)):
        here = places.centre[of[rows]]
        inside = (places.centre[among] >= here.min(0) - margin) & (places.centre[among] <= here.max(0) + margin)
        near = among[inside.all(axis=1)]
        if len(near):
            middle = here.mean(axis=0)  # small numbers: their squares keep centimetres
            a, b = here - middle, places.centre[near] - middle
            squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
            distance = np.sqrt(squares.clip(0))
            yield rows, near, distance, (distance - outer[of[rows], None] - outer[near]) / _SLACK - 1


def gaps(places: Places, first: Ints, second: Ints) -> Floats:
    """Gap in m between the rectangles of each pair of patches; 0 where they touch or overlap.

    In their own coordinate system where they share a metric one. Else on the plane that touches the Earth between them:
    its lengths are chords, which are made arcs.
    """
    found = np.empty(len(first))
    flat = places.metric[first] & (places.system[first] == places.system[second])
    found[flat] = _between_rectangles(places.bounds[first[flat]], places.bounds[second[flat]])
    chords = _on_plane(places, first[~flat], second[~flat])
    found[~flat] = 2 * _RADIUS * np.arcsin(np.minimum(chords / (2 * _RADIUS), 1))
    tolerance = TOUCHING * np.maximum(places.pixel[first], places.pixel[second])
    found[found <= tolerance] = 0
    return found


def _between_rectangles(a: Floats, b: Floats) -> Floats:
    apart = np.maximum(a[:, :2] - b[:, 2:], b[:, :2] - a[:, 2:]).clip(0)
    return np.asarray(np.hypot(*apart.T))


def _on_plane(places: Places, first: Ints, second: Ints) -> Floats:
    """Distances between the quadrangles of pairs of patches, seen along the vertical midway between them."""
    middle = (places.centre[first] + places.centre[second]) / 2
    up = middle / np.linalg.norm(middle, axis=1, keepdims=True)
    polar = abs(up[:, 2:]) > 0.9
    across = np.cross(np.where(polar, (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)), up)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    axes = np.stack([across, np.cross(up, across)], axis=2)
    seen: list[NDArray[np.object_]] = [
        shapely.polygons((places.corners[rows] - middle[:, None]) @ axes) for rows in (first, second)
    ]
    return np.asarray(shapely.distance(*seen), dtype=np.float64)
