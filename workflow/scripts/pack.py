"""Pack all patches into memory-mapped arrays."""

from cerraseg.core import logs
from cerraseg.data import packed

if __name__ == "__main__":
    with logs.step(snakemake):
        packed.pack(
            snakemake.input.table,
            snakemake.output.images,
            snakemake.output.masks,
            snakemake.output.header,
            workers=snakemake.threads,
        )
