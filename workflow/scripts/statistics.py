"""Band statistics, class counts and class weights of the training split."""

from cerraseg import logs, statistics, store

with logs.step(snakemake):
    packed = store.open_store(snakemake.input.images, snakemake.input.masks, snakemake.input.header)
    statistics.write_statistics(
        snakemake.input.table,
        snakemake.input.split,
        packed,
        snakemake.output.statistics,
        threads=snakemake.threads,
    )
