"""Write a scenario's map of a scene without its smallest areas, as a raster and as polygons."""

from pathlib import Path

from cerraseg.core.taxonomy import LEVELS
from cerraseg.mapping.polygons import polygons
from cerraseg.orchestration.step import step

with step(snakemake):
    folder = Path(snakemake.input.map)
    polygons(
        folder / "classes.tif",
        LEVELS[snakemake.params.scenario["level"]],
        minimum_hectares=snakemake.params.minimum_hectares,
        raster=Path(snakemake.output.raster),
        vector=Path(snakemake.output.vector),
        confidence=folder / "confidence.tif",
    )
