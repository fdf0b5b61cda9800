"""Put the folds' predictions of a scenario together."""

from cerraseg.core import logs
from cerraseg.mapping.pool_folds import pool

with logs.step(snakemake):
    read, out = snakemake.input, snakemake.output
    parts = ((read.predictions, out.prediction), (read.confidences, out.confidence), (read.edges, out.edges))
    for folds, pooled in parts:
        pool(read.splits, folds, pooled)
