"""Train one scenario, on as many GPUs as the job was given."""

from pathlib import Path

from cerraseg import devices, logs, nodes, store
from cerraseg.plan import Plan
from cerraseg.recipes import Recipe
from cerraseg.scenario import Scenario
from cerraseg.training import Outputs, train

if __name__ == "__main__":
    pretrained = snakemake.input.get("pretrained")
    with logs.step(snakemake.log[0]):
        train(
            Plan(
                Scenario(**snakemake.params.scenario),
                Recipe(**snakemake.params.recipe),
                snakemake.params.settings,
                **snakemake.params.training,
                threads=snakemake.threads,
                devices=devices.granted(snakemake.resources.get("gpu", 0)),
                pretrained=Path(pretrained) if pretrained else None,
                nodes=nodes.granted(snakemake.resources.get("nodes", 1)),
                code=snakemake.params.code,
            ),
            store.open_store(snakemake.input.images, snakemake.input.masks, snakemake.input.header),
            Path(snakemake.input.split),
            Path(snakemake.input.statistics),
            Outputs(*map(Path, (snakemake.output.best, snakemake.output.last, snakemake.output.history))),
            Path(snakemake.params.resume),
        )
