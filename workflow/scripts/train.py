"""Train one scenario, on as many GPUs as the job was given."""

from pathlib import Path

from cerraseg.config.dataset import Dataset
from cerraseg.data import packed
from cerraseg.orchestration.step import step
from cerraseg.training.distributed import allocated_gpus, allocated_nodes
from cerraseg.training.plan import plan_of
from cerraseg.training.train import Outputs, train

if __name__ == "__main__":
    told, read, out = snakemake.params, snakemake.input, snakemake.output
    with step(snakemake):
        train(
            plan_of(
                dict(told.items()),
                Dataset.of(snakemake.config["dataset"]),
                read.get("pretrained"),
                threads=snakemake.threads,
                devices=allocated_gpus(snakemake.resources.get("gpu", 0)),
                nodes=allocated_nodes(snakemake.resources.get("nodes", 1)),
                code=told.code,
            ),
            packed.open_store(read.images, read.masks, read.header),
            Path(read.split),
            Path(read.statistics),
            Outputs(Path(out.best), Path(out.last), Path(out.history)),
            Path(told.resume),
        )
