"""Quick-looks of maps: what they show, where, and that the same files give the same bytes."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from overview_run import raster
from rasterio.crs import CRS
from scenes import CERRADATA

from cerraseg.report import map_figures
from cerraseg.report.map_figures import bar_length, draw_marks, measure_ground

L1 = CERRADATA.classes("l1")
LABELS = {"title": "the title", "source": "simulated landscape"}


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
    path = raster(tmp_path / "map.tif", mask)
    figure = panels(monkeypatch, tmp_path / "a.png", path, L1, truth=path)
    assert list(named(figure)) == ["truth", "prediction"]
    prediction = named(figure)["prediction"]
    assert shown(prediction).shape == (30, 40, 3)
    assert shown(prediction)[0, 0].tolist() == list(L1[5].colour) and shown(prediction)[0, -1].tolist() == [255] * 3
    assert prediction.get_xlim() == (6e5, 600800) and prediction.get_ylim() == (7999400, 8e6)
    map_figures.map_panel(path, L1, tmp_path / "b.png", truth=path, **LABELS)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    map_figures.map_panel(path, L1, tmp_path / "a.svg", **LABELS)
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "easting (metre)" in text and "Water body" in text and ">truth<" not in text
    assert ">200 m<" in text and ">N<" in text


def test_image_and_confidence_are_shown(tmp_path, monkeypatch):
    percent = np.full((60, 80), 70, np.uint8)
    percent[0] = 255
    picture = np.zeros((4, 60, 81), np.uint8)
    picture[0], picture[3, :30] = 200, 255
    bands = {"truth": np.zeros((60, 80), np.uint8), "confidence": percent, "image": picture}
    files = {name: raster(tmp_path / f"{name}.tif", array) for name, array in bands.items()}
    axes = named(panels(monkeypatch, tmp_path / "a.png", files["truth"], L1, **files))
    assert list(axes) == ["image", "truth", "prediction", "confidence"]
    assert [name for name in axes if axes[name].get_xlabel() == "easting (metre)"] == ["prediction", "confidence"]
    assert [name for name in axes if axes[name].get_ylabel() == "northing (metre)"] == ["image", "prediction"]
    assert shown(axes["image"])[0, 0].tolist() == [200, 0, 0, 255] and shown(axes["image"])[-1, 0, 3] == 0
    # The image reaches a pixel further; the panels end with the map.
    assert axes["image"].get_images()[0].get_extent()[1] == 600810 and axes["image"].get_xlim() == (6e5, 600800)
    values = axes["confidence"].get_images()[0].get_array()
    assert values.mask[0].all() and (values[1:] == 70).all()


def test_aspect_and_marks_are_those_of_the_ground(tmp_path, monkeypatch):
    for crs, marks, label in (("EPSG:4326", 2, "longitude (degree)"), (None, 0, "longitude (no CRS)")):
        path = raster(tmp_path / "a.tif", np.zeros((100, 100), np.uint8), crs, 1e-4)
        axes = named(panels(monkeypatch, tmp_path / "a.png", path, L1))["prediction"]
        extent = *axes.get_xlim(), *axes.get_ylim()
        assert axes.get_aspect() == (measure_ground(CRS.from_user_input(crs), extent).aspect if crs else 1)
        assert (len(axes.artists), axes.get_xlabel()) == (marks, label)


def around(x: float, y: float, half: float) -> tuple[float, float, float, float]:
    return x - half, x + half, y - half, y + half


def test_bars_are_round_and_fit():
    for width in np.geomspace(1, 4e6, 400):
        length = bar_length(width)
        assert 0.139 * width < length <= 0.35 * width
        assert f"{length:.0e}"[0] in "125"


@pytest.mark.parametrize(
    ("crs", "x", "y", "half", "metres", "aspect", "lean"),
    [
        (4326, -47, 0, 0.05, 111_319.49, 110_574.28 / 111_319.49, 0),
        (4326, -47, -60, 0.05, 55_800.0, 111_412.24 / 55_800.0, 0),
        (32722, 500_000, 7.2e6, 1000, 1 / 0.9996, 1, 0),  # the scale of a UTM grid on its central meridian
        (32722, 7.9e5, 7.2e6, 1000, 0.99936, 1, 1.232),  # east of it in the south: true north is to the right
        (32722, 3e5, 7.2e6, 1000, 0.99991, 1, -0.85),
        (32622, 7.9e5, 2.8e6, 1000, 0.99936, 1, -1.232),
        (2264, 2e6, 6e5, 5000, 0.30480061, 1, 0),  # North Carolina in US survey feet
        (3857, -5e6, 8_399_737.89, 1000, 0.501253, 1, 0),  # Mercator at 60°, doubled on a sphere
        (32601, 166_021.4, 1000, 5000, 0.99902, 1, 0),  # across the date line
        (3995, 0, -1e6, 1000, 1.0214, 1, 0),  # a polar grid
        (3995, 1e6, 0, 1000, 1.0214, 1, -90),
    ],
)
def test_units_and_north_on_the_ground(crs, x, y, half, metres, aspect, lean):
    found = measure_ground(CRS.from_epsg(crs), around(x, y, half))
    assert (found.unit, found.aspect) == pytest.approx((metres, aspect), rel=2e-4)
    assert found.lean == pytest.approx(lean, abs=0.01)


def test_no_place_on_earth_or_no_north():
    local = CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1]]')
    for crs, x, y in ((None, 0, 0), (local, 0, 0), (CRS.from_epsg(32722), 1e12, 1e12), (CRS.from_epsg(3995), 0, 0)):
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
    draw_marks(axes, measure_ground(CRS.from_epsg(crs), box))
    bar = axes.artists[0]
    assert bar.txt_label.get_text() == label
    assert bar.size_bar.get_children()[0].get_width() == pytest.approx(length, rel=1.5e-3)
