"""Scale bar and north arrow: lengths and angles that are known from the ellipsoid and from the UTM grid."""

import math

import pytest
from matplotlib.figure import Figure
from rasterio.crs import CRS

from cerraseg.report.map_marks import bar_length, draw_marks, ground

Box = tuple[float, float, float, float]


def around(x: float, y: float, half: float) -> Box:
    return x - half, x + half, y - half, y + half


@pytest.mark.parametrize(
    ("width", "length"),
    [(2240, 500), (1000, 200), (1400, 200), (1429, 500), (100_000, 20_000), (30, 10), (6, 2), (3, 1), (1.5, 0.5)],
)
def test_bar_length(width, length):
    assert bar_length(width) == pytest.approx(length)


def test_bars_are_round_and_fit():
    for step in range(1, 400):
        width = 10 ** (step / 60)
        length = bar_length(width)
        assert 0.139 * width < length <= 0.35 * width
        assert f"{length:.0e}"[0] in "125"


@pytest.mark.parametrize(
    ("latitude", "across", "along"),
    [(0, 111_319.49, 110_574.28), (45, 78_846.81, 111_131.78), (-60, 55_800.0, 111_412.24)],
)
def test_metres_of_a_degree(latitude, across, along):
    found = ground(CRS.from_epsg(4326), around(-47, latitude, 0.05))
    assert found.unit == pytest.approx(across, rel=1e-5)
    assert found.aspect == pytest.approx(along / across, rel=1e-5)
    assert found.lean == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("crs", "x", "y", "half", "metres"),
    [
        (32722, 500_000, 7.2e6, 1000, 1 / 0.9996),  # the scale of a UTM grid on its central meridian
        (2264, 2e6, 6e5, 5000, 0.30480061),  # North Carolina in US survey feet
        (3857, -5e6, 8_399_737.89, 1000, 0.501253),  # Mercator at 60°, doubled on a sphere
    ],
)
def test_units_of_projected_systems(crs, x, y, half, metres):
    found = ground(CRS.from_epsg(crs), around(x, y, half))
    assert found.unit == pytest.approx(metres, rel=2e-4) and found.aspect == 1


@pytest.mark.parametrize(("code", "sign"), [(32722, 1), (32622, -1)])
def test_true_north_leans_by_the_convergence(code, sign):
    """South of the equator, to the right in the east of the central meridian and to the left in its west."""
    y = 7.2e6 if sign > 0 else 2.8e6
    latitude = math.radians(-25.3 if sign > 0 else 25.3)
    for x in (3e5, 5e5, 7.9e5):
        found = ground(CRS.from_epsg(code), around(x, y, 1000))
        away = math.degrees((x - 5e5) / 0.9996 / (6_378_137 * math.cos(latitude)))
        expected = math.degrees(math.atan(math.tan(math.radians(away)) * math.sin(-latitude)))
        assert found.lean == pytest.approx(expected, abs=0.01)
        assert found.lean * sign * (x - 5e5) > 0 or x == 5e5


def test_north_of_a_polar_grid_points_to_the_pole():
    below, right = (ground(CRS.from_epsg(3995), around(x, y, 1000)) for x, y in ((0, -1e6), (1e6, 0)))
    assert below.lean == pytest.approx(0, abs=1e-6) and right.lean == pytest.approx(-90)


@pytest.mark.parametrize(
    ("crs", "x", "y"),
    [
        (CRS(), 0, 0),
        (CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1]]'), 0, 0),
        (CRS.from_epsg(32722), 1e12, 1e12),
        (CRS.from_epsg(3995), 0, 0),
    ],
)
def test_no_place_on_earth_or_no_north(crs, x, y):
    assert ground(crs, around(x, y, 1000)) is None


def test_a_map_across_the_date_line():
    found = ground(CRS.from_epsg(32601), around(166_021.4, 1000, 5000))  # 180° at the equator
    assert found.unit == pytest.approx(0.999, abs=2e-3)


@pytest.mark.parametrize(("crs", "box", "label", "length"), [
    (32722, (790_236, 792_476, 7_195_799, 7_198_039), "500 m", 500),
    (32722, (5e5, 6e5, 7e6, 7.1e6), "20 km", 20_000),
    (4326, (-47, -46.954, -6.046, -6), "1 km", 1000 / 110_710),
])  # fmt: skip
def test_what_is_drawn(crs, box, label, length):
    axes = Figure().subplots()
    axes.set(xlim=box[:2], ylim=box[2:])
    draw_marks(axes, ground(CRS.from_epsg(crs), box))
    bar, arrow = axes.artists
    assert bar.txt_label.get_text() == label
    (rectangle,) = bar.size_bar.get_children()
    assert rectangle.get_width() == pytest.approx(length, rel=1.5e-3)
    needle, letter = arrow.get_child().get_children()
    lean = ground(CRS.from_epsg(crs), box).lean
    assert letter.get_text() == "N" and letter.get_rotation() == pytest.approx(-lean % 360)
    tip, _, tail, _, _ = needle.get_transform().transform(needle.get_xy())
    assert math.degrees(math.atan2(*(tip - tail))) == pytest.approx(lean)
