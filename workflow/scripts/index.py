"""Check every patch and write the patch table."""

from pathlib import Path

from cerraseg.config.dataset import Dataset
from cerraseg.data import index
from cerraseg.data.download import read_roots
from cerraseg.orchestration.step import step

if __name__ == "__main__":
    with step(snakemake):
        dataset = Dataset.of(snakemake.config["dataset"])
        index.write_patch_table(
            [] if snakemake.params.areas else read_roots(Path(snakemake.input.manifest), dataset),
            dataset,
            snakemake.output.table,
            snakemake.log.rejected,
            areas=snakemake.params.areas or None,
            tiling=snakemake.params.tiling,
            threads=snakemake.threads,
            **snakemake.params.settings,
        )
