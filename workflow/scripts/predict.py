"""Predict patches with a scenario's best checkpoint."""

from cerraseg.core import logs
from cerraseg.data import packed
from cerraseg.mapping.predict import predict

with logs.step(snakemake):
    predict(
        snakemake.input.checkpoint,
        packed.open_store(snakemake.input.images, snakemake.input.masks, snakemake.input.header),
        packed.rows_of(snakemake.input.split, snakemake.params.patches),
        snakemake.output.prediction,
        snakemake.output.confidence,
        snakemake.output.edges,
        batch_size=snakemake.params.batch_size,
        precision=snakemake.params.precision,
        threads=snakemake.threads,
    )
