"""Hectares against the exact ellipsoid, and counts by block against a plain loop."""

from math import atanh, radians, sin, sqrt

import numpy as np
import pytest
from rasterio import Affine
from region import IDS, L3
from scenes import CERRADATA, write_raster

from cerraseg.core.errors import DataError
from cerraseg.evaluation.areas import confusion_blocks, mapped_areas

L1 = CERRADATA.classes("l1")
DEGREES = 9e-5
RADIUS, E2 = 6_378_137.0, 0.006_694_379_990_141  # WGS 84
NORTH_UP = Affine(10, 0, 500_000, 0, -10, 8_100_000)


def write(path, values, transform=NORTH_UP, crs="EPSG:32722"):
    return write_raster(path, values[None], transform=transform, crs=crs, nodata=255)


def classes_of(height, width, seed=1):
    """Random classes in pieces of 5 × 5 pixels, a tenth of them 255."""
    random = np.random.default_rng(seed)
    pieces = random.integers(0, 7, (-(-height // 5), -(-width // 5)), dtype=np.uint8)
    pieces[random.random(pieces.shape) < 0.1] = 255
    return pieces.repeat(5, axis=0).repeat(5, axis=1)[:height, :width].copy()


def ellipsoid_hectares(south, north, width):
    """Exact area in hectares between two parallels, ``width`` degrees wide, on WGS 84."""
    e = sqrt(E2)

    def from_equator(latitude):
        s = sin(radians(latitude))
        return s / (1 - (e * s) ** 2) + atanh(e * s) / e

    return RADIUS**2 * (1 - E2) / 2 * radians(width) * (from_equator(north) - from_equator(south)) / 10_000


@pytest.mark.parametrize(("west", "north"), [(-60, 0.01), (10, 57), (179.98, -17)])
def test_degrees_against_the_exact_ellipsoid(tmp_path, west, north):
    """Also across the antimeridian and the equator; every row of pixels has its own size."""
    values = classes_of(300, 450)
    path = write(tmp_path / "map.tif", values, Affine(DEGREES, 0, west, 0, -DEGREES, north), "EPSG:4326")
    pixels, hectares = mapped_areas([path], L1)
    assert pixels.tolist() == [(values == k).sum() for k in range(7)]
    rows = [ellipsoid_hectares(north - (r + 1) * DEGREES, north - r * DEGREES, DEGREES) for r in range(300)]
    exact = [((values == k).sum(axis=1) * rows).sum() for k in range(7)]
    assert hectares == pytest.approx(exact, rel=1e-5)  # pixels of one cell are not quite alike
    whole = np.zeros_like(values)
    write(path, whole, Affine(DEGREES, 0, west, 0, -DEGREES, north), "EPSG:4326")
    assert mapped_areas([path], L1)[1][0] == pytest.approx(450 * sum(rows), rel=1e-8)


def test_utm_has_the_scale_of_its_place(tmp_path):
    """On the central meridian a pixel of 10 m stands for 1 / 0.9996² of 0.01 ha, some 300 km off for less."""
    full = np.zeros((100, 100), np.uint8)
    centre = mapped_areas([write(tmp_path / "centre.tif", full, Affine(10, 0, 499_500, 0, -10, 8_100_000))], L1)[1][0]
    assert centre == pytest.approx(100 / 0.9996**2, rel=1e-7)
    aside = mapped_areas([write(tmp_path / "aside.tif", full, Affine(10, 0, 799_500, 0, -10, 8_100_000))], L1)[1][0]
    squared = E2 * sin(radians(17.18)) ** 2
    radius = RADIUS * sqrt(1 - E2) / (1 - squared)  # Gaussian mean, at the latitude of the map
    scale = 0.9996 * (1 + (300_000 / 0.9996 / radius) ** 2 / 2)
    assert aside == pytest.approx(100 / scale**2, rel=1e-6)


@pytest.mark.parametrize("turn", [30, 180, 271])
def test_rotated_maps(tmp_path, turn):
    values = classes_of(200, 130)
    transform = Affine.translation(500_000, 8_100_000) @ Affine.rotation(turn) @ Affine.scale(10, -10)
    pixels, hectares = mapped_areas([write(tmp_path / "map.tif", values, transform)], L1)
    assert hectares == pytest.approx(pixels * 0.01 / 0.9996**2, rel=1e-6)


def test_maps_add_up_whatever_their_system(tmp_path):
    utm = write(tmp_path / "utm.tif", classes_of(300, 200))
    transform = Affine(DEGREES, 0, 9, 0, -DEGREES, 50)
    degrees = write(tmp_path / "degrees.tif", classes_of(70, 64, 2), transform, "EPSG:4326")
    (pixels, hectares), *each = (mapped_areas(paths, L1) for paths in ([utm, degrees], [utm], [degrees]))
    assert pixels.tolist() == sum(one for one, _ in each).tolist()
    assert hectares == pytest.approx(sum(one for _, one in each), rel=1e-15)


def test_faulty_maps(tmp_path):
    with pytest.raises(DataError, match=r"l2\.tif holds the value 9; .* 0, 1, 2, 3, 4, 5, 6, or 255"):
        mapped_areas([write(tmp_path / "l2.tif", np.full((4, 4), 9, np.uint8))], L1)
    for name, crs in (("none", None), ("local", 'LOCAL_CS["here",UNIT["metre",1]]')):
        with pytest.raises(Exception, match=r"CRS|coordinate"):
            mapped_areas([write(tmp_path / f"{name}.tif", classes_of(10, 10), crs=crs)], L1)


@pytest.mark.parametrize(("height", "width", "side"), [(256, 384, 128), (300, 450, 128), (40, 30, 64), (100, 100, 7)])
def test_counts_by_block_equal_a_plain_loop(tmp_path, height, width, side):
    prediction, truth = classes_of(height, width), classes_of(height, width, 2)
    truth[: side + 5, : side + 3] = 255
    found = confusion_blocks(write(tmp_path / "map.tif", prediction), write(tmp_path / "truth.tif", truth), L1, side)
    expected = []
    for top in range(0, height, side):
        for left in range(0, width, side):
            counts = np.zeros((7, 7), int)
            part = np.s_[top : top + side, left : left + side]
            for true, seen in zip(truth[part].flat, prediction[part].flat, strict=True):
                if true != 255 and seen != 255:
                    counts[true, seen] += 1
            if counts.any():
                expected.append(counts)
    assert found.dtype == np.int64 and found.shape == (len(expected), 7, 7)
    assert found.tolist() == np.reshape(expected, (-1, 7, 7)).tolist()


def test_classes_are_found_by_their_ids(tmp_path):
    places = classes_of(200, 130) % 5
    other = np.roll(places, 7, axis=1)
    files = [write(tmp_path / f"{k}.tif", np.array(IDS, np.uint8)[values]) for k, values in enumerate((places, other))]
    pixels, hectares = mapped_areas(files[:1], L3)
    assert pixels.tolist() == [(places == k).sum() for k in range(5)]
    assert hectares == pytest.approx(pixels * 0.01 / 0.9996**2, rel=1e-5)
    counts = confusion_blocks(*files, L3, 64).sum(axis=0)
    assert counts.tolist() == [[((other == true) & (places == seen)).sum() for seen in range(5)] for true in range(5)]
    for value in (0, 4, 40, 254):  # among the positions, between the ids, beyond them
        foreign = write(tmp_path / "foreign.tif", np.full((8, 8), value, np.uint8))
        with pytest.raises(DataError, match=f"value {value}; .* 3, 15, 24, 33, 39, or 255"):
            mapped_areas([foreign], L3)
        with pytest.raises(DataError):
            confusion_blocks(foreign, foreign, L3, 64)
