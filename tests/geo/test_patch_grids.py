"""Grids of patches: one per coordinate system, from the first patch there to the union of all.

What a patch table must hold, and how patches off the grid are moved, is tested with the maps in test_mosaic.
"""

import pandas as pd
from rasterio import Affine

from cerraseg.geo.patch_grids import grids


def test_grids_by_coordinate_system():
    rows = [
        ("p0", "EPSG:32722", 10.0, 0.0, 500_000.0, 0.0, -10.0, 8e6),
        ("p1", "EPSG:32723", 20.0, 0.0, 300_000.0, 0.0, -20.0, 7e6),
        ("p2", "EPSG:32722", 10.0, 0.0, 499_950.0, 0.0, -10.0, 8e6 + 30),
    ]
    first, second = grids(pd.DataFrame(rows, columns=["id", "crs", *"abcdef"]), (4, 8))
    assert (first.tag, first.shape, first.ids, first.members.tolist()) == ("epsg32722", (7, 13), ["p0", "p2"], [0, 2])
    assert (first.rows.tolist(), first.columns.tolist()) == ([3, 0], [5, 0])
    assert first.transform == Affine(10, 0, 499_950, 0, -10, 8e6 + 30) and first.crs.to_epsg() == 32722
    assert (second.tag, second.shape, second.members.tolist()) == ("epsg32723", (4, 8), [1])
