"""Join the maps of a zone's tiles."""

from pathlib import Path

from cerraseg.config.dataset import Dataset
from cerraseg.geo.zones import zone_at
from cerraseg.mapping.join import join_maps
from cerraseg.orchestration.step import step

with step(snakemake):
    zone = zone_at(**snakemake.params.zone)
    join_maps(
        zone.grid,
        dict(zip(map(Path, snakemake.input.tiles), zone.tiles.values(), strict=True)),
        Path(snakemake.output.folder),
        Dataset.of(snakemake.config["dataset"]),
        snakemake.params.scenario["level"],
        threads=snakemake.threads,
    )
