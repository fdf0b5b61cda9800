"""Make one checkpoint of the members of an ensemble."""

from pathlib import Path

import torch

from cerraseg.config.dataset import Dataset
from cerraseg.config.scenario import Scenario
from cerraseg.data import packed
from cerraseg.orchestration.step import step
from cerraseg.training.ensemble import write_ensemble

with step(snakemake):
    torch.set_num_threads(snakemake.threads)
    read = snakemake.input
    write_ensemble(
        [Path(file) for file in read.checkpoints],
        [Path(file) for file in read.splits],
        Scenario(**snakemake.params.scenario),
        Dataset.of(snakemake.config["dataset"]),
        packed.open_store(read.images, read.masks, read.header),
        Path(snakemake.output.best),
        Path(snakemake.output.origin),
    )
