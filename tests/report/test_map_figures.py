"""Quick-looks of maps: what they show, where, and that the same files give the same bytes."""

import math
from pathlib import Path

import numpy as np
import pytest
import rasterio
from matplotlib.figure import Figure
from rasterio.crs import CRS
from rasterio.transform import from_origin

from cerraseg.core.errors import DataError
from cerraseg.core.taxonomy import LEVELS
from cerraseg.report import map_figures
from cerraseg.report.map_figures import bar_length, draw_marks, measure_ground

L1 = LEVELS["l1"]
LABELS = {"title": "the title", "source": "simulated landscape"}


def write_map(path: Path, mask: np.ndarray, crs: str | None = "EPSG:32721") -> Path:
    """A file with the bands of ``mask``: (H, W) or (bands, H, W)."""
    bands = mask if mask.ndim == 3 else mask[None]
    transform = from_origin(-47, -30, 1e-4, 1e-4) if crs == "EPSG:4326" else from_origin(6e5, 8.5e6, 10, 10)
    count, height, width = bands.shape
    options = {"crs": crs, "transform": transform, "nodata": 255 if count == 1 else None}
    with rasterio.open(path, "w", "GTiff", width, height, count, dtype="uint8", **options) as file:
        file.write(bands)
    return path


def panels(monkeypatch: pytest.MonkeyPatch, path: Path, *args: object, **options: object) -> Figure:
    """The figure of :func:`map_figures.map_panel` as it is written."""
    kept = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (kept.append(self), save(self, *a, **k)))
    map_figures.map_panel(*args, path, **LABELS, **options)
    return kept[0]


def named(figure: Figure) -> dict[str, object]:
    return {axes.get_title("left"): axes for axes in figure.axes if axes.get_title("left")}


def shown(axes: object) -> np.ndarray:
    return np.asarray(axes.get_images()[0].get_array())


def test_map_is_read_decimated_and_drawn_beside_the_truth(tmp_path, monkeypatch):
    monkeypatch.setattr(map_figures, "LARGEST_SIDE", 40)
    mask = np.full((60, 80), 5, dtype=np.uint8)
    mask[:, 40:] = 255
    path = write_map(tmp_path / "map.tif", mask)
    figure = panels(monkeypatch, tmp_path / "a.png", path, L1, truth=path)
    assert list(named(figure)) == ["truth", "prediction"]
    prediction = named(figure)["prediction"]
    assert shown(prediction).shape == (30, 40, 3)
    assert shown(prediction)[0, 0].tolist() == list(L1[5].colour) and shown(prediction)[0, -1].tolist() == [255] * 3
    assert prediction.get_xlim() == (6e5, 600800) and prediction.get_ylim() == (8499400, 8.5e6)
    map_figures.map_panel(path, L1, tmp_path / "b.png", truth=path, **LABELS)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    map_figures.map_panel(path, L1, tmp_path / "a.svg", **LABELS)
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "easting (metre)" in text and "Water body" in text and ">truth<" not in text
    assert ">200 m<" in text and ">N<" in text


def test_image_and_confidence_are_shown(tmp_path, monkeypatch):
    mask = np.zeros((60, 80), np.uint8)
    percent = np.full((60, 80), 70, np.uint8)
    percent[0] = 255
    picture = np.zeros((4, 60, 81), np.uint8)
    picture[0], picture[3, :30] = 200, 255
    files = {
        "truth": write_map(tmp_path / "truth.tif", mask),
        "confidence": write_map(tmp_path / "confidence.tif", percent),
        "image": write_map(tmp_path / "image.tif", picture),
    }
    figure = panels(monkeypatch, tmp_path / "a.png", files["truth"], L1, **files)
    assert list(named(figure)) == ["image", "truth", "prediction", "confidence"]
    image, confidence = named(figure)["image"], named(figure)["confidence"]
    assert shown(image)[0, 0].tolist() == [200, 0, 0, 255] and shown(image)[-1, 0, 3] == 0
    # The image reaches a pixel further; the panels end with the map.
    assert image.get_images()[0].get_extent()[1] == 600810 and image.get_xlim() == (6e5, 600800)
    values = confidence.get_images()[0].get_array()
    assert values.mask[0].all() and (values[1:] == 70).all() and confidence.get_images()[0].get_clim() == (0, 100)


@pytest.mark.parametrize(
    ("names", "east", "north"),
    [
        ((), ["prediction"], ["prediction"]),
        (("truth", "confidence"), ["truth", "prediction", "confidence"], ["truth"]),
        (("image", "truth", "confidence"), ["prediction", "confidence"], ["image", "prediction"]),
    ],
)
def test_coordinates_stand_at_the_left_and_below(tmp_path, monkeypatch, names, east, north):
    path = write_map(tmp_path / "map.tif", np.zeros((4, 60, 80), np.uint8))
    axes = named(panels(monkeypatch, tmp_path / "a.png", path, L1, **dict.fromkeys(names, path)))
    assert [name for name, panel in axes.items() if panel.get_xlabel() == "easting (metre)"] == east
    assert [name for name, panel in axes.items() if panel.get_ylabel() == "northing (metre)"] == north


def test_aspect_and_marks_are_those_of_the_ground(tmp_path, monkeypatch):
    mask = np.zeros((100, 100), np.uint8)
    axes = named(panels(monkeypatch, tmp_path / "a.png", write_map(tmp_path / "a.tif", mask, "EPSG:4326"), L1))
    axes = axes["prediction"]
    assert axes.get_aspect() == pytest.approx(1 / np.cos(np.radians(30.005)), rel=0.006)  # a sphere's; Earth is flatter
    box = axes.get_window_extent()
    assert box.height / box.width == pytest.approx(axes.get_aspect(), rel=1e-6) and len(axes.artists) == 2
    axes = named(panels(monkeypatch, tmp_path / "b.png", write_map(tmp_path / "b.tif", mask, None), L1))["prediction"]
    assert axes.get_aspect() == 1 and not axes.artists and axes.get_xlabel() == "longitude (no CRS)"


def test_an_unreadable_file_is_named(tmp_path):
    path = write_map(tmp_path / "map.tif", np.zeros((8, 8), np.uint8))
    with pytest.raises(DataError, match=r"missing\.tif cannot be read"):
        map_figures.map_panel(path, L1, tmp_path / "a.png", truth=tmp_path / "missing.tif", **LABELS)
    assert [file.name for file in tmp_path.iterdir()] == ["map.tif"]


def around(x: float, y: float, half: float) -> tuple[float, float, float, float]:
    return x - half, x + half, y - half, y + half


def test_bars_are_round_and_fit():
    assert bar_length(2240) == 500 and bar_length(1.5) == 0.5
    for step in range(1, 400):
        width = 10 ** (step / 60)
        length = bar_length(width)
        assert 0.139 * width < length <= 0.35 * width
        assert f"{length:.0e}"[0] in "125"


@pytest.mark.parametrize(
    ("crs", "x", "y", "half", "metres", "aspect"),
    [
        (4326, -47, 0, 0.05, 111_319.49, 110_574.28 / 111_319.49),
        (4326, -47, -60, 0.05, 55_800.0, 111_412.24 / 55_800.0),
        (32722, 500_000, 7.2e6, 1000, 1 / 0.9996, 1),  # the scale of a UTM grid on its central meridian
        (2264, 2e6, 6e5, 5000, 0.30480061, 1),  # North Carolina in US survey feet
        (3857, -5e6, 8_399_737.89, 1000, 0.501253, 1),  # Mercator at 60°, doubled on a sphere
        (32601, 166_021.4, 1000, 5000, 0.99902, 1),  # across the date line
    ],
)
def test_units_on_the_ground(crs, x, y, half, metres, aspect):
    found = measure_ground(CRS.from_epsg(crs), around(x, y, half))
    assert (found.unit, found.aspect) == pytest.approx((metres, aspect), rel=2e-4)


@pytest.mark.parametrize(("code", "sign"), [(32722, 1), (32622, -1)])
def test_true_north_leans_by_the_convergence(code, sign):
    """South of the equator, to the right in the east of the central meridian and to the left in its west."""
    y = 7.2e6 if sign > 0 else 2.8e6
    latitude = math.radians(-25.3 if sign > 0 else 25.3)
    for x in (3e5, 5e5, 7.9e5):
        found = measure_ground(CRS.from_epsg(code), around(x, y, 1000))
        away = math.degrees((x - 5e5) / 0.9996 / (6_378_137 * math.cos(latitude)))
        expected = math.degrees(math.atan(math.tan(math.radians(away)) * math.sin(-latitude)))
        assert found.lean == pytest.approx(expected, abs=0.01)
    below, right = (measure_ground(CRS.from_epsg(3995), around(x, y, 1000)) for x, y in ((0, -1e6), (1e6, 0)))
    assert below.lean == pytest.approx(0, abs=1e-6) and right.lean == pytest.approx(-90)  # of a polar grid


@pytest.mark.parametrize(
    ("crs", "x", "y"),
    [
        (None, 0, 0),
        (CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1]]'), 0, 0),
        (CRS.from_epsg(32722), 1e12, 1e12),
        (CRS.from_epsg(3995), 0, 0),
    ],
)
def test_no_place_on_earth_or_no_north(crs, x, y):
    assert measure_ground(crs, around(x, y, 1000)) is None


@pytest.mark.parametrize(
    ("crs", "box", "label", "length"),
    [
        (32722, (790_236, 792_476, 7_195_799, 7_198_039), "500 m", 500),
        (4326, (-47, -46.954, -6.046, -6), "1 km", 1000 / 110_710),
    ],
)
def test_marks_are_drawn(crs, box, label, length):
    axes = Figure().subplots()
    axes.set(xlim=box[:2], ylim=box[2:])
    ground = measure_ground(CRS.from_epsg(crs), box)
    draw_marks(axes, ground)
    bar, arrow = axes.artists
    assert bar.txt_label.get_text() == label
    assert bar.size_bar.get_children()[0].get_width() == pytest.approx(length, rel=1.5e-3)
    (letter,) = arrow.get_child().get_children()
    assert letter.get_text() == "▲\nN" and letter.get_rotation() == pytest.approx(-ground.lean % 360)
