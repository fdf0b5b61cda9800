"""Band statistics, class counts and class weights of the training split."""

from cerraseg.config.dataset import Dataset
from cerraseg.data import packed as store
from cerraseg.data import statistics
from cerraseg.orchestration.step import step

with step(snakemake):
    packed = store.open_store(snakemake.input.images, snakemake.input.masks, snakemake.input.header)
    statistics.write_statistics(
        snakemake.input.table,
        snakemake.input.split,
        packed,
        Dataset.of(snakemake.config["dataset"]),
        snakemake.output.statistics,
        threads=snakemake.threads,
    )
