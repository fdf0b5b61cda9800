"""Predict patches with a scenario's best checkpoint."""

from cerraseg.data import packed, tables
from cerraseg.mapping.predict import predict
from cerraseg.orchestration.step import step

with step(snakemake):
    predict(
        snakemake.input.checkpoint,
        packed.open_store(snakemake.input.images, snakemake.input.masks, snakemake.input.header),
        tables.rows_of(snakemake.input.split, snakemake.params.patches),
        snakemake.output.prediction,
        snakemake.output.confidence,
        snakemake.output.edges,
        batch_size=snakemake.params.batch_size,
        precision=snakemake.params.precision,
        threads=snakemake.threads,
    )
