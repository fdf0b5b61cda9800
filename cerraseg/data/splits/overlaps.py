"""Which patches overlap on the ground."""

import numpy as np
import shapely

from cerraseg.geo.positions import Floats, Ints, Places

_DEEP = 0.5  # pixels of overlap from which on patches overlap: less is the rounding of coordinates


def overlaps(places: Places) -> tuple[Ints, Floats]:
    """Find the pairs of patches that overlap by more than half a pixel: rows (M, 2), first < second, and shares (M,).

    A share is that of the smaller patch which the other one covers.
    """
    if len(places.ids) < 2:
        return np.empty((0, 2), np.int64), np.empty(0)
    tree = shapely.STRtree(places.shapes)
    first, second = tree.query(places.shapes, "intersects")
    pairs = np.stack([first, second], axis=1)[first < second]
    one, other = places.shapes[pairs[:, 0]], places.shapes[pairs[:, 1]]
    common = shapely.intersection(one, other)
    left, bottom, right, top = shapely.bounds(common).T
    narrow = np.minimum(right - left, top - bottom)
    deep = narrow > _DEEP * np.maximum(places.pixel[pairs[:, 0]], places.pixel[pairs[:, 1]])
    share = shapely.area(common) / np.minimum(shapely.area(one), shapely.area(other))
    deep &= share > 1e-3  # a turned grid's common edge has wide bounds and no area
    return pairs[deep], share[deep]
