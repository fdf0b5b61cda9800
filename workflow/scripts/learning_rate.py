"""Suggest a learning rate for a scenario."""

from pathlib import Path

from cerraseg import logs, store
from cerraseg.learning_rate import Outputs, find
from cerraseg.plan import Plan
from cerraseg.recipes import Recipe
from cerraseg.scenario import Scenario

if __name__ == "__main__":
    pretrained = snakemake.input.get("pretrained")
    with logs.step(snakemake.log[0]):
        find(
            Plan(
                Scenario(**snakemake.params.scenario),
                Recipe(**snakemake.params.recipe),
                snakemake.params.settings,
                **snakemake.params.training,
                threads=snakemake.threads,
                pretrained=Path(pretrained) if pretrained else None,
            ),
            store.open_store(snakemake.input.images, snakemake.input.masks, snakemake.input.header),
            Path(snakemake.input.split),
            Path(snakemake.input.statistics),
            Outputs(*map(Path, (snakemake.output.picture, snakemake.output.table, snakemake.output.suggestion))),
            snakemake.params.label,
        )
