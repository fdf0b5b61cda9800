"""Take trials of the search, one after another, until its budget is spent."""

from pathlib import Path

from cerraseg.config.dataset import Dataset
from cerraseg.data import packed
from cerraseg.orchestration.step import step
from cerraseg.training.distributed import allocated_gpus
from cerraseg.training.plan import plan_of
from cerraseg.training.tuning.search import run_worker

if __name__ == "__main__":
    told, read = snakemake.params, snakemake.input
    with step(snakemake):
        run_worker(
            plan_of(
                dict(told.items()),
                Dataset.of(snakemake.config["dataset"]),
                read.get("pretrained"),
                threads=snakemake.threads,
                devices=allocated_gpus(snakemake.resources.get("gpu", 0)),
                code=told.code,
            ),
            (packed.open_store(read.images, read.masks, read.header), Path(read.split), Path(read.statistics)),
            told.tune,
            told.storage,
            int(snakemake.wildcards.worker),
            Path(told.folder),
            Path(snakemake.output.done),
        )
