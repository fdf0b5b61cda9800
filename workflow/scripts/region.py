"""Tabulate the areas of a region over all of its zones, and write the STAC collection of their maps."""

from pathlib import Path

from cerraseg.config.dataset import Dataset
from cerraseg.evaluation import area_estimates
from cerraseg.evaluation.score_files import read_units
from cerraseg.mapping.stac import write_collection
from cerraseg.orchestration.step import step

with step(snakemake):
    read, out, region = snakemake.input, snakemake.output, snakemake.wildcards.region
    classes = Dataset.of(snakemake.config["dataset"]).classes(snakemake.params.scenario["level"])
    maps, counts = [Path(folder, "classes.tif") for folder in read.maps], read_units(read.patches)[1]
    area_estimates.write_area_table(
        out.areas, area_estimates.area_table(maps, counts, classes, area_estimates.TEST_PATCHES)
    )
    write_collection(
        Path(out.collection),
        list(map(Path, read.zones)),
        id=f"{region}-{snakemake.wildcards.scenario}",
        title=f"Land cover of {region}",
        description=f"One map a UTM zone, by a model trained on {snakemake.params.label}",
        beside={"areas": Path(out.areas), "images": Path(read.images)},
    )
