"""Show the tiles of a zone as one image."""

from pathlib import Path

from cerraseg.data.imagery.zone_image import write_zone_image
from cerraseg.geo.zones import zone_at
from cerraseg.orchestration.step import step

with step(snakemake):
    write_zone_image(
        zone_at(**snakemake.params.zone), list(map(Path, snakemake.input.tiles)), Path(snakemake.output.image)
    )
