"""Suggest a learning rate for a scenario, and draw the range test."""

import json
from pathlib import Path

import pandas as pd

from cerraseg.config.dataset import Dataset
from cerraseg.data import packed
from cerraseg.orchestration.step import step
from cerraseg.report.figures import learning_rates
from cerraseg.training.lr_finder import find_learning_rate
from cerraseg.training.plan import plan_of

if __name__ == "__main__":
    told, read, out = snakemake.params, snakemake.input, snakemake.output
    with step(snakemake):
        find_learning_rate(
            plan_of(
                dict(told.items()),
                Dataset.of(snakemake.config["dataset"]),
                read.get("pretrained"),
                threads=snakemake.threads,
            ),
            packed.open_store(read.images, read.masks, read.header),
            Path(read.split),
            Path(read.statistics),
            Path(out.table),
            Path(out.suggestion),
        )
        tried, found = pd.read_csv(out.table), json.loads(Path(out.suggestion).read_text(encoding="utf-8"))
        learning_rates(
            {name: tried[name].to_numpy() for name in tried},
            found["suggestion"],
            found["recipe"],
            out.picture,
            title=f"Range test of the learning rate, {found['scenario']}: {found['suggestion']:.1e} suggested",
            source=told.label,
        )
