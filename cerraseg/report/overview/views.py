"""The maps that the overview page shows, and where a run keeps them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class View:
    """One map to look at.

    Attributes:
        place: what is mapped: a scene's name, or the mosaic with its CRS.
        scenario: id of the scenario that mapped it.
        level: a key of :data:`cerraseg.core.taxonomy.LEVELS`.
        classes: class map, uint8 with 255 for no data.
        confidence: percent as uint8 on the grid of ``classes``, 255 for no data.
        image: RGB or RGBA, uint8, in the CRS of ``classes``, on a grid of its own.
        truth: class map on the grid of ``classes``.
        areas: CSV with one row a class.
    """

    place: str
    scenario: str
    level: str
    classes: Path
    confidence: Path
    image: Path | None = None
    truth: Path | None = None
    areas: Path | None = None


def find_views(results: Path, levels: Mapping[str, str], scenes: Sequence[str] = ()) -> list[View]:
    """The views of a results folder: each scenario's mosaics, then the scenes that it mapped, with what lies beside.

    ``levels`` maps the scenarios' ids to their levels. Image, truth and areas are taken where they are found.
    """
    views = []
    for scenario, level in levels.items():
        folder, scores = results / "scenarios" / scenario, results / "scores" / scenario
        for classes in sorted((folder / "mosaic").glob("prediction_*.tif")):
            tag = classes.stem.removeprefix("prediction_")
            parts = (classes.with_name(f"confidence_{tag}.tif"), results / "truth" / f"image_{tag}.tif")
            truth = results / "truth" / level / f"truth_{tag}.tif"
            views.append(_view(f"mosaic {tag}", scenario, level, classes, *parts, truth, scores / "areas.csv"))
    for scene in scenes:
        truth_folder = results / "scenes" / scene / "truth"
        for scenario, level in levels.items():
            folder, scores = results / "scenes" / scene / scenario, results / "scores" / scenario
            if (classes := folder / "map" / "classes.tif").exists():
                parts = (classes.with_name("confidence.tif"), truth_folder / "image.tif")
                truth = truth_folder / level / "truth.tif"
                views.append(_view(scene, scenario, level, classes, *parts, truth, scores / f"areas_{scene}.csv"))
    return views


def _view(place: str, scenario: str, level: str, classes: Path, confidence: Path, *others: Path) -> View:
    return View(place, scenario, level, classes, confidence, *(path if path.exists() else None for path in others))
