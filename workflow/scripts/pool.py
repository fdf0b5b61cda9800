"""Put the folds' predictions of a scenario together."""

from cerraseg.mapping.pool_folds import pool
from cerraseg.orchestration.step import step

with step(snakemake):
    read, out = snakemake.input, snakemake.output
    parts = ((read.predictions, out.prediction), (read.confidences, out.confidence), (read.edges, out.edges))
    for folds, pooled in parts:
        pool(read.splits, folds, pooled)
