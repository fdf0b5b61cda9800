"""What goes with a scene's map: the areas of its classes, a picture, and a STAC item."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cerraseg.core.taxonomy import LEVELS
from cerraseg.evaluation import area_estimates
from cerraseg.evaluation.areas import confusion_blocks
from cerraseg.evaluation.score_files import read_patches
from cerraseg.mapping.stac import write_item
from cerraseg.report import map_figures

_RASTERS = ("classes", "classes_l1", "confidence", "probabilities", "margin", "entropy")
_BY_SUFFIX = {".tif": "sieved", ".gpkg": "polygons"}


@dataclass(frozen=True)
class SceneMap:
    """A scenario's map of a scene.

    Attributes:
        scene: Name of the scene.
        scenario: Id of the scenario.
        level: Level of its classes.
        label: What figures call the data.
        folder: Folder of the map's rasters.
        truth: Folder of the scene's picture and, where it has one, its reference.
    """

    scene: str
    scenario: str
    level: str
    label: str
    folder: Path
    truth: Path

    @property
    def reference(self) -> Path | None:
        """The reference on the map's grid, where there is one."""
        file = self.truth / self.level / "truth.tif"
        return file if file.exists() else None


def write_areas(made: SceneMap, patches: Path, file: Path) -> None:
    """Tabulate the area of each class, adjusted by the scene's reference or else by the counts of the test patches."""
    classes, mapped = LEVELS[made.level], made.folder / "classes.tif"
    counts = confusion_blocks(mapped, made.reference, classes) if made.reference else read_patches(patches)[1]
    basis = area_estimates.REFERENCE_MASK if made.reference else area_estimates.TEST_PATCHES
    area_estimates.write_area_table(file, area_estimates.area_table([mapped], counts, classes, basis))


def draw_map(made: SceneMap, file: Path) -> None:
    """Draw the map beside the scene's picture, its confidence and, where there is one, its reference."""
    map_figures.map_panel(
        made.folder / "classes.tif",
        LEVELS[made.level],
        file,
        title=f"{made.scene}, {made.scenario}",
        source=made.label,
        truth=made.reference,
        confidence=made.folder / "confidence.tif",
        image=made.truth / "image.tif",
    )


def write_map_item(
    made: SceneMap,
    file: Path,
    *,
    areas: Path,
    figure: Path,
    polygons: Sequence[Path],
    images: Sequence[Path],
    date: str | None,
) -> None:
    """Write the STAC item of the map and of the files beside it.

    Args:
        made: The map.
        file: The item.
        areas: Table of areas.
        figure: Picture of the map.
        polygons: The sieved raster and the polygons, where they are made.
        images: The scene's images; without any, the map dates the item, which is younger than they.
        date: When the images were taken, as YYYY-MM-DD, if that is known.
    """
    files = {name: made.folder / f"{name}.tif" for name in _RASTERS} | {"areas": areas, "figure": figure}
    files |= {_BY_SUFFIX[path.suffix]: path for path in polygons}
    write_item(
        file,
        id=f"{made.scene}-{made.scenario}",
        date=date,
        files=files,
        sources=images or [files["classes"]],
        classes=LEVELS[made.level],
        properties={
            "title": f"Land cover of {made.scene}",
            "description": f"Source: {made.label}",
            "cerraseg:scenario": made.scenario,
            "cerraseg:level": made.level,
        },
    )
