"""Pack all patches into memory-mapped arrays."""

from cerraseg import logs, store

if __name__ == "__main__":
    with logs.step(snakemake):
        store.pack(
            snakemake.input.table,
            snakemake.output.images,
            snakemake.output.masks,
            snakemake.output.header,
            workers=snakemake.threads,
        )
