"""What goes with a scene's map: the areas of its classes, a picture, and a STAC item."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cerraseg.config.dataset import Dataset
from cerraseg.core.taxonomy import Legend
from cerraseg.evaluation import area_estimates
from cerraseg.evaluation.areas import confusion_blocks
from cerraseg.evaluation.score_files import read_units
from cerraseg.mapping.stac import write_item
from cerraseg.report.map_figures import map_panel

_RASTERS = ("classes", "confidence", "probabilities", "margin", "entropy", "set", "disagreement")


class SceneMap(NamedTuple):
    """A scenario's map of a scene."""

    scene: str
    scenario: str
    dataset: Dataset
    level: str
    label: str  # what figures call the data
    folder: Path  # of the map's rasters
    truth: Path  # folder of the scene's picture and, where it has one, its reference

    @property
    def classes(self) -> Legend:
        """The legend of the map."""
        return self.dataset.classes(self.level)

    @property
    def reference(self) -> Path | None:
        """The reference on the map's grid, where there is one."""
        file = self.truth / self.level / "truth.tif"
        return file if file.exists() else None


def write_areas(made: SceneMap, patches: Path, file: Path) -> None:
    """Tabulate the area of each class, adjusted by the scene's reference or else by the counts of the test patches."""
    mapped, side = made.folder / "classes.tif", made.dataset.patch_size
    known = made.reference
    counts = confusion_blocks(mapped, known, made.classes, side) if known else read_units(patches)[1]
    basis = area_estimates.REFERENCE_MASK if known else area_estimates.TEST_PATCHES
    area_estimates.write_area_table(file, area_estimates.area_table([mapped], counts, made.classes, basis))


def draw_map(made: SceneMap, file: Path) -> None:
    """Draw the map beside the scene's picture, its confidence and, where there is one, its reference."""
    map_panel(
        made.folder / "classes.tif",
        made.classes,
        file,
        title=f"{made.scene}, {made.scenario}",
        source=made.label,
        truth=made.reference,
        confidence=made.folder / "confidence.tif",
        image=made.truth / "image.tif",
    )


def write_map_item(
    made: SceneMap, file: Path, *, beside: Mapping[str, Path], images: Sequence[Path], date: str | None
) -> None:
    """Write the STAC item of the map and of the files ``beside`` it, by name.

    The scene's ``images`` date the item unless a ``date`` (YYYY-MM-DD) is known; without any, the map does, which is
    younger than they.
    """
    coarser = {level: made.dataset.classes(level) for level in made.dataset.ancestors(made.level)}
    rasters = (*_RASTERS, *(f"classes_{level}" for level in coarser))
    files = {**{name: made.folder / f"{name}.tif" for name in rasters}, **beside}
    write_item(
        file,
        id=f"{made.scene}-{made.scenario}",
        date=date,
        files=files,
        sources=images or [files["classes"]],
        classes=made.classes,
        coarser=coarser,
        properties={
            "title": f"Land cover of {made.scene}",
            "description": f"Source: {made.label}",
            "cerraseg:scenario": made.scenario,
            "cerraseg:level": made.level,
        },
    )
