"""Write the manifest of the user's own folders."""

from pathlib import Path

from cerraseg.config.dataset import Dataset
from cerraseg.data.download import write_manifest
from cerraseg.orchestration.step import step

with step(snakemake):
    roots = [Path(root) for root in snakemake.params.roots]
    dataset = Dataset.of(snakemake.config["dataset"])
    write_manifest(Path(snakemake.output.manifest), dataset, source=snakemake.params.label, roots=roots)
