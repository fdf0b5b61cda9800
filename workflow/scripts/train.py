"""Train one scenario, on as many GPUs as the job was given."""

from pathlib import Path

from cerraseg import devices, logs, nodes, store
from cerraseg.plan import plan_of
from cerraseg.training import Outputs, train

if __name__ == "__main__":
    told, read, out = snakemake.params, snakemake.input, snakemake.output
    with logs.step(snakemake):
        train(
            plan_of(
                dict(told.items()),
                read.get("pretrained"),
                threads=snakemake.threads,
                devices=devices.granted(snakemake.resources.get("gpu", 0)),
                nodes=nodes.granted(snakemake.resources.get("nodes", 1)),
                code=told.code,
            ),
            store.open_store(read.images, read.masks, read.header),
            Path(read.split),
            Path(read.statistics),
            Outputs(Path(out.best), Path(out.last), Path(out.history)),
            Path(told.resume),
        )
