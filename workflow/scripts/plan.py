"""Write what fetching a region costs."""

import json
from pathlib import Path

from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log
from cerraseg.data.imagery import search
from cerraseg.geo.grids import Grid
from cerraseg.orchestration.step import step

with step(snakemake), atomic_write(snakemake.output.plan) as file:
    tiles = list(snakemake.params.tiles.values())
    found = search.parse(Path(snakemake.input.images).read_bytes())
    plan = search.plan(found, [Grid.from_values(tile) for tile in tiles], tiles[0]["sensors"], tiles[0]["bands"])
    file.write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")
    for line in search.as_text(plan):
        log.info("%s", line)
