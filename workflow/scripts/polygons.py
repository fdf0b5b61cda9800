"""Write a scenario's map of a scene without its smallest areas, as a raster and as polygons."""

from pathlib import Path

from cerraseg.config.dataset import Dataset
from cerraseg.mapping.polygons import polygons
from cerraseg.orchestration.step import step

with step(snakemake):
    folder = Path(snakemake.input.map)
    polygons(
        folder / "classes.tif",
        Dataset.of(snakemake.config["dataset"]).classes(snakemake.params.scenario["level"]),
        minimum_hectares=snakemake.params.minimum_hectares,
        raster=Path(snakemake.output.raster),
        vector=Path(snakemake.output.vector),
        confidence=folder / "confidence.tif",
    )
