"""Gaps between patches on the ground, and how far each test patch lies from the nearest training patch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import shapely
from rasterio.warp import transform

from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log
from cerraseg.data.tables import digest, read_patch_table, read_split
from cerraseg.geo.positions import COLUMNS, Floats, Ints, Places, geocentric, locate, overlaps
from cerraseg.geo.rasters import WGS84

TOUCHING = 0.5
"""Patches touch where no pixel fits between them: rounded coordinates, and the steps of 128.25 px of CerraData-4MM."""

_RADIUS = 6371008.8  # m, mean of the Earth
_CHUNK = 500  # patches that are compared with all others at a time


def write_distances(table: str | Path, splits: Sequence[str | Path], path: str | Path) -> None:
    """Write how far each test patch lies from the training patches (CSV), split table by split table.

    Columns: ``id``; ``metres``, the gap to the nearest training patch; ``centre_metres``, the distance from centre to
    centre of the nearest; ``touches``, whether it touches or overlaps one; and, where any does, ``overlaps``.

    Args:
        splits: split tables, each over the rows of the patch table: one, or one per fold.
    """
    places = locate(read_patch_table(table, COLUMNS))
    found, pairs = [], overlaps(places)[0]
    for split in splits:
        parts = read_split(split, digest(places.ids))["split"].to_numpy(np.str_)
        train, test = np.flatnonzero(parts == "train"), np.flatnonzero(parts == "test")
        metres, centres = nearest(places, test, train)
        columns = {"id": np.array(places.ids)[test], "metres": metres.round(1), "centre_metres": centres.round(1)}
        beside = [pairs[np.isin(pairs[:, k], train), 1 - k] for k in (0, 1)]
        over = np.isin(test, np.concatenate(beside))
        found.append(pd.DataFrame(columns | {"touches": metres == 0, "overlaps": over}))
    frame = pd.concat(found, ignore_index=True)
    if not frame["overlaps"].any():
        del frame["overlaps"]
    else:
        log.warning("%d of %d test patches overlap a training patch", frame["overlaps"].sum(), len(frame))
    with atomic_write(path) as temporary:
        frame.to_csv(temporary, index=False)
    touching, median = frame["touches"].sum(), frame["metres"].median()
    log.info("%d of %d test patches touch a training patch; the median gap is %.0f m", touching, len(frame), median)


def nearest(places: Places, of: Ints, among: Ints) -> tuple[Floats, Floats]:
    """Measure, for each patch ``of``, the gap to the nearest ``among`` others, and from centre to nearest centre, in m.

    The nearest is found on one plane, :attr:`Places.plane`, and its distance measured on the ground. Infinite where
    there are no others.
    """
    gap, between = np.full(len(of), np.inf), np.full(len(of), np.inf)
    row, found = shapely.STRtree(places.shapes[among]).query_nearest(places.shapes[of], all_matches=False)
    gap[row] = gaps(places, of[row], among[found])
    centres = shapely.centroid(places.shapes)
    row, found = shapely.STRtree(centres[among]).query_nearest(centres[of], all_matches=False)
    between[row] = _ground_lengths(places.degrees[of[row]], places.degrees[among[found]])
    return gap, between


def connected(places: Places, within: float) -> Ints:
    """Number each patch by its site: patches whose gap is at most ``within`` m share a site.

    Single linkage. A site's number is the smallest row among its patches.
    """
    tree, bounds = shapely.STRtree(places.shapes), shapely.bounds(places.shapes)
    stretch = 1 / np.sqrt(1 - (np.hypot(*bounds.reshape(-1, 2).T).max() / (2 * _RADIUS)) ** 2)  # of the plane, at most
    numbers = np.arange(len(bounds))
    for reach in (0.0, within):  # neighbours first: what they join need not be compared at a distance
        # A metric system's metres are those of the ground to 1 %.
        margin = 1.01 * reach * stretch + 2 * places.pixel.max()
        for rows in np.array_split(np.arange(len(bounds)), -(-len(bounds) // _CHUNK)):
            row, other = tree.query(places.shapes[rows], "dwithin", margin)
            pairs = np.stack([rows[row], other])
            pairs = pairs[:, np.not_equal(*numbers[pairs])]
            _join(numbers, pairs[:, gaps(places, *pairs) <= reach])
    return numbers


def _join(numbers: Ints, pairs: Ints) -> None:
    """Give both of each pair (2, pairs) and all that have their numbers the smallest one, in place."""
    while (pairs := pairs[:, np.not_equal(*numbers[pairs])]).size:
        leads = np.arange(len(numbers))
        np.minimum.at(leads, numbers[pairs].max(axis=0), numbers[pairs].min(axis=0))
        while (further := leads[leads]).tobytes() != leads.tobytes():
            leads = further
        numbers[:] = leads[numbers]


def gaps(places: Places, first: Ints, second: Ints) -> Floats:
    """Measure the gap in m between the rectangles of each pair of patches; 0 where they touch or overlap.

    In their own coordinate system where they share a metric one, else on the ground.
    """
    found = np.empty(len(first))
    flat = places.metric[first] & (places.system[first] == places.system[second])
    a, b = places.bounds[first[flat]], places.bounds[second[flat]]
    found[flat] = np.hypot(*np.maximum(a[:, :2] - b[:, 2:], b[:, :2] - a[:, 2:]).clip(0).T)
    lines = shapely.shortest_line(places.shapes[first[~flat]], places.shapes[second[~flat]])
    ends = transform(places.plane, WGS84, *shapely.get_coordinates(lines).T)
    start, end = np.stack(ends, axis=-1).reshape(-1, 2, 2).swapaxes(0, 1)
    found[~flat] = _ground_lengths(start, end)
    found[found <= TOUCHING * np.maximum(places.pixel[first], places.pixel[second])] = 0
    return found


def _ground_lengths(first: Floats, second: Floats) -> Floats:
    """Lengths in m on the ground between pairs of longitudes and latitudes (N, 2)."""
    chords = np.linalg.norm(geocentric(first) - geocentric(second), axis=1)
    return np.asarray(2 * _RADIUS * np.arcsin(np.minimum(chords / (2 * _RADIUS), 1)))
