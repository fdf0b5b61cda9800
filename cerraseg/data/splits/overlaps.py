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
    area, sides = shapely.area(common), shapely.length(common) / 2  # width + height of the common rectangle, any way up
    narrow = 2 * area / np.maximum(sides + np.sqrt(np.maximum(sides**2 - 4 * area, 0)), 1e-9)  # the shorter of the two
    deep = narrow > _DEEP * np.maximum(places.pixel[pairs[:, 0]], places.pixel[pairs[:, 1]])
    share = area / np.minimum(shapely.area(one), shapely.area(other))
    return pairs[deep], share[deep]
