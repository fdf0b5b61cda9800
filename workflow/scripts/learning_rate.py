"""Suggest a learning rate for a scenario."""

from pathlib import Path

from cerraseg.data import packed
from cerraseg.orchestration.step import step
from cerraseg.training.lr_finder import Outputs, find
from cerraseg.training.plan import plan_of

if __name__ == "__main__":
    told, read, out = snakemake.params, snakemake.input, snakemake.output
    with step(snakemake):
        find(
            plan_of(
                dict(told.items()),
                read.get("pretrained"),
                threads=snakemake.threads,
            ),
            packed.open_store(read.images, read.masks, read.header),
            Path(read.split),
            Path(read.statistics),
            Outputs(Path(out.picture), Path(out.table), Path(out.suggestion)),
            told.label,
        )
