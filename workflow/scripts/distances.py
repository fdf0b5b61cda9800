"""Measure how far the test patches lie from the training patches."""

from cerraseg import distances, logs

with logs.step(snakemake.log[0]):
    distances.write_distances(snakemake.input.table, snakemake.input.splits, snakemake.output.distances)
