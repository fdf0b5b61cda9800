"""Predict patches with a scenario's best checkpoint."""

from cerraseg.data import packed, tables
from cerraseg.mapping.predict import predict
from cerraseg.orchestration.step import step

with step(snakemake):
    store = packed.open_store(snakemake.input.images, snakemake.input.masks, snakemake.input.header)
    rows = tables.rows_of(snakemake.input.split, snakemake.params.patches, store.header.ids)
    predict(
        snakemake.input.checkpoint,
        store,
        rows,
        snakemake.output.prediction,
        snakemake.output.confidence,
        snakemake.output.edges,
        scored=tables.rows_of(snakemake.input.split, "test"),
        calibration=snakemake.output.calibration,
        batch_size=snakemake.params.batch_size,
        augment=snakemake.params.augment,
        precision=snakemake.params.precision,
        threads=snakemake.threads,
    )
    tables.write_ids(snakemake.output.ids, tables.read_split(snakemake.input.split)["id"].iloc[rows])
