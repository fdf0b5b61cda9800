"""Gaps are those of the rectangles, the nearest patch is the nearest of all, and sites are what gaps connect."""

import numpy as np
import pandas as pd
import pytest
import shapely
from layouts import every_gap, grid, scattered, written
from rasterio.crs import CRS
from rasterio.warp import transform

from cerraseg.core.errors import DataError
from cerraseg.data.splits.distances import connected, gaps, nearest, write_distances
from cerraseg.geo.positions import geocentric, locate


def azimuthal(table, first, second):
    """Gap of two patches in a projection whose distances from the first's centre are true."""
    rows = table.iloc[[first, second]]
    rings = [(row.crs, shapely.box(row.left, row.bottom, row.right, row.top).exterior.xy) for row in rows.itertuples()]
    degrees = [transform(CRS.from_user_input(crs), CRS.from_epsg(4326), *ring) for crs, ring in rings]
    longitude, latitude = np.mean(degrees[0], axis=1)
    plane = CRS.from_proj4(f"+proj=aeqd +lon_0={longitude} +lat_0={latitude} +datum=WGS84")
    a, b = (shapely.Polygon(np.transpose(transform(CRS.from_epsg(4326), plane, *d))) for d in degrees)
    return a.distance(b)


@pytest.mark.parametrize("seed", range(2))
def test_gaps_over_systems_are_those_of_an_azimuthal_projection(seed):
    table = scattered(seed)
    places, random = locate(table), np.random.default_rng(seed)
    first, second = random.integers(0, len(table), (2, 60))
    found = gaps(places, first, second)
    for a, b, gap in zip(first, second, found, strict=True):
        expected = azimuthal(table, a, b)
        assert gap == pytest.approx(expected, rel=2e-3, abs=0.5) or (gap == 0 and expected < 5)


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:32723", "EPSG:3857"])
def test_neighbours_touch_though_coordinates_are_rounded(crs):
    table = grid(crs, 4, 5)
    table.loc[::2, "left"] += 1e-9 * abs(table["left"])
    places = locate(table)
    row, column = np.divmod(np.arange(20), 5)
    near = np.maximum(abs(row[:, None] - row), abs(column[:, None] - column)) <= 1
    np.testing.assert_array_equal(every_gap(places, np.arange(20), np.arange(20)) == 0, near)


def test_a_gap_of_a_quarter_pixel_touches_and_one_of_a_pixel_does_not():
    """CerraData-4MM was cut in steps of 128.03 × 128.25 pixels."""
    places = locate(pd.concat([grid("EPSG:4326", 1, 1, east=east) for east in (0, 128.25 / 128, -129 / 128)]))
    assert gaps(places, np.array([0, 0]), np.array([1, 2])).round(1).tolist() == [0, 9.9]


@pytest.mark.parametrize("seed", range(2))
def test_the_nearest_is_the_nearest_of_all(seed):
    table = scattered(seed)
    places, random = locate(table), np.random.default_rng(seed)
    of = random.random(len(table)) < 0.1
    of, among = np.flatnonzero(of), np.flatnonzero(~of & (random.random(len(table)) < 0.05))
    every = every_gap(places, of, among)
    centre = geocentric(places.degrees)
    centres = np.linalg.norm(centre[of][:, None] - centre[among], axis=2)
    gap, between = nearest(places, of, among)
    np.testing.assert_allclose(gap, every.min(axis=1), rtol=1e-3)  # of two about as near the plane may choose the other
    np.testing.assert_allclose(between, centres.min(axis=1), rtol=1e-4)


def test_other_sides_of_the_earth_and_of_the_date_line():
    table = grid("EPSG:4326", 1, 4)
    for k, left in enumerate((179.999, -179.985, -0.5, 131.8)):
        table.loc[k, ["left", "right"]] = left, left + 0.0115
    table.loc[3, ["bottom", "top"]] = 5.9, 5.92  # opposite the first grid's corner
    gap, _ = nearest(locate(table), np.array([0, 2]), np.array([1, 3]))
    assert gap[0] == pytest.approx(500, abs=60) and 13e6 < gap[1] < 20.1e6


@pytest.mark.parametrize(("seed", "within"), [(0, 0), (1, 1500), (2, 6000), (0, 20_000)])
def test_sites_are_connected_by_gaps(seed, within):
    table = scattered(seed)
    table = table[np.random.default_rng(seed).random(len(table)) < 0.3].reset_index(drop=True)
    places = locate(table)
    near = every_gap(places, np.arange(len(table)), np.arange(len(table))) <= within
    reached = near
    while ((further := reached @ near) != reached).any():
        reached = further
    np.testing.assert_array_equal(connected(places, within), reached.argmax(axis=1))


def test_distances_of_the_test_patches_of_each_split_table(tmp_path):
    table = written(grid("EPSG:32723", 1, 6), tmp_path)
    parts = [["test", "train", "buffer", "validation", "test", "test"], ["train", "test", "test", *["validation"] * 3]]
    files = [tmp_path / "1.csv", tmp_path / "2.csv"]
    for file, split in zip(files, parts, strict=True):
        pd.DataFrame({"id": range(100, 106), "split": split}).to_csv(file, index=False)
    write_distances(table, files, tmp_path / "distances.csv")
    found = pd.read_csv(tmp_path / "distances.csv", dtype={"id": str})
    assert found["id"].tolist() == ["100", "104", "105", "101", "102"]
    assert found["metres"].tolist() == [0, 2560, 3840, 0, 1280]
    assert found["touches"].tolist() == [True, False, False, True, False]
    np.testing.assert_allclose(found["centre_metres"], [1280, 3840, 5120, 1280, 2560], rtol=1e-3)
    assert list(found) == ["id", "metres", "centre_metres", "touches"]

    pd.DataFrame({"id": range(105, 99, -1), "split": "test"}).to_csv(files[0], index=False)
    with pytest.raises(DataError, match="in its order"):
        write_distances(table, files[:1], tmp_path / "distances.csv")


def test_overlap_is_told_apart_from_touching_where_there_is_any(tmp_path):
    places = [grid("EPSG:32723", 1, 1, first=100 + k, east=east) for k, east in enumerate((0, 0.75, 1.75, 4, 4.5))]
    table = written(pd.concat(places, ignore_index=True), tmp_path)
    parts = ["train", "test", "test", "test", "validation"]  # an overlap with a validation patch is none of training
    pd.DataFrame({"id": range(100, 105), "split": parts}).to_csv(tmp_path / "s.csv", index=False)
    write_distances(table, [tmp_path / "s.csv"], tmp_path / "distances.csv")
    found = pd.read_csv(tmp_path / "distances.csv")
    assert found["overlaps"].tolist() == [True, False, False]
    assert found["touches"].tolist() == [True, False, False] and found["metres"].tolist() == [0, 960, 3840]
