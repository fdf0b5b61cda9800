"""Assign every patch to training, validation or test."""

from cerraseg.core import logs
from cerraseg.data.splits import assign

with logs.step(snakemake):
    settings = dict(snakemake.params.settings)
    shares = {part: settings.pop(part) for part in assign.PARTS}
    assign.write_split(snakemake.input.table, snakemake.output.split, shares=shares, **settings)
