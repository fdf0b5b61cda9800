"""Grids of patches: one per coordinate system, from the first patch there to the union of all.

What a patch table must hold, and how patches off the grid are moved, is tested with the maps in test_mosaic.
"""

import pandas as pd
from rasterio import Affine
from rasterio.crs import CRS

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


def test_both_sides_of_the_antimeridian_are_one_grid():
    pixel = 1e-4
    west, east = 180 - 8 * pixel, -180.0
    rows = [
        ("p0", "EPSG:4326", pixel, 0.0, east, 0.0, -pixel, 10.0),
        ("p1", "EPSG:4326", pixel, 0.0, west, 0.0, -pixel, 10.0),
    ]
    (grid,) = grids(pd.DataFrame(rows, columns=["id", "crs", *"abcdef"]), (4, 8))
    assert (grid.shape, grid.columns.tolist(), grid.rows.tolist()) == ((4, 16), [8, 0], [0, 0])
    assert grid.transform.almost_equals(Affine(pixel, 0, west, 0, -pixel, 10))


def test_patches_around_the_world_stay_where_they_are():
    rows = [(f"p{x}", "EPSG:4326", 0.1, 0.0, float(x), 0.0, -0.1, 10.0) for x in (-170, -60, 30, 140)]
    (grid,) = grids(pd.DataFrame(rows, columns=["id", "crs", *"abcdef"]), (1, 1))
    assert grid.transform.c == -170 and grid.shape == (1, 3101)


def test_a_system_without_exact_code_keeps_its_own():
    plain = "+proj=utm +zone=22 +south +ellps=WGS84"
    rows = [("p0", plain, 10.0, 0.0, 500_000.0, 0.0, -10.0, 8e6)]
    (grid,) = grids(pd.DataFrame(rows, columns=["id", "crs", *"abcdef"]), (4, 8))
    assert grid.tag.startswith("crs") and grid.crs == CRS.from_string(plain)
