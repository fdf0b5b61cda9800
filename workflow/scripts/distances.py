"""Measure how far the test patches lie from the training patches."""

from cerraseg import distances, logs

with logs.step(snakemake):
    distances.write_distances(snakemake.input.table, snakemake.input.splits, snakemake.output.distances)
