"""Band statistics, class counts and class weights of the training split."""

from cerraseg.data import packed as store
from cerraseg.data import statistics
from cerraseg.orchestration.step import step

with step(snakemake):
    packed = store.open_store(snakemake.input.images, snakemake.input.masks, snakemake.input.header)
    statistics.write_statistics(
        snakemake.input.table,
        snakemake.input.split,
        packed,
        snakemake.output.statistics,
        threads=snakemake.threads,
    )
