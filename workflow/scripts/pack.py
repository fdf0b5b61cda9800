"""Pack all patches into memory-mapped arrays."""

from cerraseg.config.dataset import Dataset
from cerraseg.data.pack import pack
from cerraseg.orchestration.step import step

if __name__ == "__main__":
    with step(snakemake):
        pack(
            snakemake.input.table,
            Dataset.of(snakemake.config["dataset"]),
            snakemake.output.images,
            snakemake.output.masks,
            snakemake.output.header,
            areas=snakemake.params.areas or None,
            workers=snakemake.threads,
        )
