"""Pack all patches into memory-mapped arrays."""

from cerraseg.data import packed
from cerraseg.orchestration.step import step

if __name__ == "__main__":
    with step(snakemake):
        packed.pack(
            snakemake.input.table,
            snakemake.output.images,
            snakemake.output.masks,
            snakemake.output.header,
            workers=snakemake.threads,
        )
