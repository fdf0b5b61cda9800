"""Write the manifest of the user's own folders."""

from pathlib import Path

from cerraseg.data.download import write_manifest
from cerraseg.orchestration.step import step

with step(snakemake):
    roots = [Path(root) for root in snakemake.params.roots]
    write_manifest(Path(snakemake.output.manifest), source=snakemake.params.label, roots=roots)
