"""Measure how far the test patches lie from the training patches."""

from cerraseg.core import logs
from cerraseg.data.splits import distances

with logs.step(snakemake):
    distances.write_distances(snakemake.input.table, snakemake.input.splits, snakemake.output.distances)
