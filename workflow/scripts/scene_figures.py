"""Draw the map of a scene beside its picture, its confidence and, where there is one, its truth."""

from pathlib import Path

from cerraseg.core.taxonomy import LEVELS
from cerraseg.orchestration.step import step
from cerraseg.report import map_figures

with step(snakemake):
    level = snakemake.params.scenario["level"]
    scene, truth = Path(snakemake.input.map), Path(snakemake.input.truth)
    labels = truth / level / "truth.tif"
    map_figures.map_panel(
        scene / "classes.tif",
        LEVELS[level],
        snakemake.output.map,
        title=f"{snakemake.wildcards.scene}, {snakemake.wildcards.scenario}",
        source=snakemake.params.label,
        truth=labels if labels.exists() else None,
        confidence=scene / "confidence.tif",
        image=truth / "image.tif",
    )
