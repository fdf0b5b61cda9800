"""Take trials of the search, one after another, until its budget is spent."""

from pathlib import Path

from cerraseg import devices, logs, store
from cerraseg.plan import Plan
from cerraseg.recipes import Recipe
from cerraseg.scenario import Scenario
from cerraseg.search import Data, work
from cerraseg.storage_url import storage_of

if __name__ == "__main__":
    pretrained = snakemake.input.get("pretrained")
    with logs.step(snakemake.log[0]):
        work(
            Plan(
                Scenario(**snakemake.params.scenario),
                Recipe(**snakemake.params.recipe),
                snakemake.params.settings,
                **snakemake.params.training,
                threads=snakemake.threads,
                devices=devices.granted(snakemake.resources.get("gpu", 0)),
                pretrained=Path(pretrained) if pretrained else None,
                code=snakemake.params.code,
            ),
            Data(
                store.open_store(snakemake.input.images, snakemake.input.masks, snakemake.input.header),
                Path(snakemake.input.split),
                Path(snakemake.input.statistics),
            ),
            snakemake.params.tune,
            storage_of(snakemake.config),
            int(snakemake.wildcards.worker),
            Path(snakemake.params.folder),
            Path(snakemake.output.done),
        )
