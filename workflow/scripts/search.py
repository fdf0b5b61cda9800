"""Freeze the list of a region's images."""

from pathlib import Path

import shapely

from cerraseg.data.imagery.search import search, write_list
from cerraseg.orchestration.step import step

with step(snakemake):
    asked, out = snakemake.params.question, snakemake.output
    lines = search(shapely.from_wkt(asked["area"]), asked["dates"], asked["sensors"], asked["bands"])
    write_list(lines, Path(out.images), Path(out.digest))
