"""Predict patches with a scenario's best checkpoint."""

from cerraseg import logs, store
from cerraseg.prediction import predict

with logs.step(snakemake):
    predict(
        snakemake.input.checkpoint,
        store.open_store(snakemake.input.images, snakemake.input.masks, snakemake.input.header),
        store.rows_of(snakemake.input.split, snakemake.params.patches),
        snakemake.output.prediction,
        snakemake.output.confidence,
        snakemake.output.edges,
        batch_size=snakemake.params.batch_size,
        precision=snakemake.params.precision,
        threads=snakemake.threads,
    )
