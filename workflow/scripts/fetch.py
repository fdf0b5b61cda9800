"""Fetch the images of a tile and compose them."""

from pathlib import Path

from cerraseg.data.imagery import search
from cerraseg.data.imagery.fetch import fetch_tile
from cerraseg.geo.grids import Grid
from cerraseg.orchestration.step import step

with step(snakemake):
    tile = snakemake.params.tile
    found, grid = search.parse(Path(snakemake.input.images).read_bytes()), Grid.from_values(tile)
    fetch_tile(
        search.by_sensor(found, grid, tile["sensors"]),
        tile["sensors"],
        tile["bands"],
        grid,
        Path(snakemake.output.tile),
    )
