"""Assign every patch to training, validation or test."""

from cerraseg import logs, split

with logs.step(snakemake):
    settings = dict(snakemake.params.settings)
    shares = {part: settings.pop(part) for part in split.PARTS}
    split.write_split(snakemake.input.table, snakemake.output.split, shares=shares, **settings)
