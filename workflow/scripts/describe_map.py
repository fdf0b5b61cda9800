"""Tabulate the areas of a scene's map, draw it, and write its STAC item."""

from pathlib import Path

from cerraseg.config.dataset import Dataset
from cerraseg.orchestration.step import step
from cerraseg.report import map_description

with step(snakemake):
    read, out = snakemake.input, snakemake.output
    made = map_description.SceneMap(
        snakemake.wildcards.scene,
        snakemake.wildcards.scenario,
        Dataset.of(snakemake.config["dataset"]),
        snakemake.params.scenario["level"],
        snakemake.params.label,
        Path(read.map),
        Path(read.truth),
    )
    map_description.write_areas(made, Path(read.patches), Path(out.areas))
    map_description.draw_map(made, Path(out.figure))
    map_description.write_map_item(
        made,
        Path(out.item),
        beside={"areas": Path(out.areas), "figure": Path(out.figure)}
        | dict(zip(("sieved", "polygons"), map(Path, read.polygons), strict=False)),  # where they are made
        images=[Path(file) for file in read.sources],
        date=snakemake.params.date,
    )
