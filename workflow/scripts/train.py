"""Train one scenario."""

from pathlib import Path

from cerraseg import logs, store
from cerraseg.loop import Plan
from cerraseg.recipes import Recipe
from cerraseg.scenario import Scenario
from cerraseg.training import Outputs, train

with logs.step(snakemake.log[0]):
    train(
        Plan(
            Scenario(**snakemake.params.scenario),
            Recipe(**snakemake.params.recipe),
            snakemake.params.settings,
            **snakemake.params.training,
            threads=snakemake.threads,
            code=snakemake.params.code,
        ),
        store.open_store(snakemake.input.images, snakemake.input.masks, snakemake.input.header),
        Path(snakemake.input.split),
        Path(snakemake.input.statistics),
        Outputs(*map(Path, (snakemake.output.best, snakemake.output.last, snakemake.output.history))),
        Path(snakemake.params.resume),
    )
