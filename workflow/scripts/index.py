"""Check every patch and write the patch table."""

from pathlib import Path

from cerraseg.data import index
from cerraseg.data.download import read_roots
from cerraseg.orchestration.step import step

if __name__ == "__main__":
    with step(snakemake):
        index.write_patch_table(
            read_roots(Path(snakemake.input.manifest)),
            snakemake.output.table,
            snakemake.log.rejected,
            threads=snakemake.threads,
            **snakemake.params.settings,
        )
