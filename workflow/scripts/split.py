"""Assign every patch to training, validation or test."""

from cerraseg.config.dataset import Dataset
from cerraseg.data.splits import assign
from cerraseg.orchestration.step import step

with step(snakemake):
    settings = dict(snakemake.params.settings)
    shares = {part: settings.pop(part) for part in assign.PARTS}
    dataset = Dataset.of(snakemake.config["dataset"])
    read, out = snakemake.input, snakemake.output
    assign.write_split(read.table, out.split, dataset, facts=out.facts, shares=shares, **settings)
