"""Quick-looks of maps: what they show, where, and that the same files give the same bytes."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from matplotlib.figure import Figure
from rasterio.transform import from_origin

from cerraseg.core.errors import DataError
from cerraseg.core.taxonomy import LEVELS
from cerraseg.report import map_figures
from cerraseg.report.map_marks import ground

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


def test_image_and_confidence_stand_in_a_grid(tmp_path, monkeypatch):
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
    cells = {name: axes.get_subplotspec().num1 for name, axes in named(figure).items()}
    assert cells == {"image": 0, "truth": 1, "prediction": 2, "confidence": 3}
    image, confidence = named(figure)["image"], named(figure)["confidence"]
    assert shown(image)[0, 0].tolist() == [200, 0, 0, 255] and shown(image)[-1, 0, 3] == 0
    # The image reaches a pixel further; the panels end with the map.
    assert image.get_images()[0].get_extent()[1] == 600810 and image.get_xlim() == (6e5, 600800)
    values = confidence.get_images()[0].get_array()
    assert values.mask[0].all() and (values[1:] == 70).all() and confidence.get_images()[0].get_clim() == (0, 100)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["prediction"], [["prediction"]]),
        (["image", "prediction"], [["image", "prediction"]]),
        (["image", "truth", "prediction"], [["image", "truth"], ["prediction", ""]]),
        (["image", "prediction", "confidence"], [["image", "prediction"], ["", "confidence"]]),
    ],
)
def test_cells(names, expected):
    assert map_figures._cells(names).tolist() == expected


def test_a_panel_without_neighbours_has_its_coordinates(tmp_path, monkeypatch):
    path = write_map(tmp_path / "map.tif", np.zeros((60, 80), np.uint8))
    axes = named(panels(monkeypatch, tmp_path / "a.png", path, L1, truth=path, confidence=path))
    labels = {name: (panel.get_xlabel(), panel.get_ylabel()) for name, panel in axes.items()}
    east, north = "easting (metre)", "northing (metre)"
    assert labels == {"truth": (east, north), "prediction": ("", ""), "confidence": (east, north)}


def test_degrees_are_drawn_as_they_are_on_the_ground(tmp_path, monkeypatch):
    path = write_map(tmp_path / "map.tif", np.zeros((100, 100), np.uint8), "EPSG:4326")
    axes = named(panels(monkeypatch, tmp_path / "a.png", path, L1))["prediction"]
    assert axes.get_aspect() == pytest.approx(1 / np.cos(np.radians(30.005)), rel=0.006)  # a sphere's; Earth is flatter
    box = axes.get_window_extent()
    assert box.height / box.width == pytest.approx(axes.get_aspect(), rel=1e-6)


def test_without_crs_there_are_no_marks(tmp_path, monkeypatch):
    path = write_map(tmp_path / "map.tif", np.zeros((60, 80), np.uint8), None)
    axes = named(panels(monkeypatch, tmp_path / "a.png", path, L1))["prediction"]
    assert axes.get_aspect() == 1 and not axes.artists and axes.get_xlabel() == "longitude (no CRS)"
    known = named(
        panels(monkeypatch, tmp_path / "b.png", write_map(tmp_path / "b.tif", np.zeros((9, 9), np.uint8)), L1)
    )
    assert len(known["prediction"].artists) == 2
    assert ground(None, (0, 1, 0, 1)) is None


def test_an_unreadable_file_is_named(tmp_path):
    path = write_map(tmp_path / "map.tif", np.zeros((8, 8), np.uint8))
    with pytest.raises(DataError, match=r"missing\.tif cannot be read .*as prediction"):
        map_figures.map_panel(tmp_path / "missing.tif", L1, tmp_path / "a.png", **LABELS)
    with pytest.raises(DataError, match=r"map\.tif cannot be read .*as image"):
        map_figures.map_panel(path, L1, tmp_path / "a.png", image=path, **LABELS)
    assert [file.name for file in tmp_path.iterdir()] == ["map.tif"]
