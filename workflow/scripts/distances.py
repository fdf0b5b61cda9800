"""Measure how far the test patches lie from the training patches."""

from cerraseg.data.splits import distances
from cerraseg.orchestration.step import step

with step(snakemake):
    distances.write_distances(snakemake.input.table, snakemake.input.splits, snakemake.output.distances)
