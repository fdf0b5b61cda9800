"""Take trials of the search, one after another, until its budget is spent."""

from pathlib import Path

from cerraseg import devices, logs, store
from cerraseg.plan import plan_of
from cerraseg.search import Data, work
from cerraseg.storage_url import storage_of

if __name__ == "__main__":
    told, read = snakemake.params, snakemake.input
    with logs.step(snakemake):
        work(
            plan_of(
                dict(told.items()),
                read.get("pretrained"),
                threads=snakemake.threads,
                devices=devices.granted(snakemake.resources.get("gpu", 0)),
                code=told.code,
            ),
            Data(
                store.open_store(read.images, read.masks, read.header),
                Path(read.split),
                Path(read.statistics),
            ),
            told.tune,
            storage_of(snakemake.config),
            int(snakemake.wildcards.worker),
            Path(told.folder),
            Path(snakemake.output.done),
        )
