"""Write the manifest of the user's own folders."""

from pathlib import Path

from cerraseg import logs
from cerraseg.download import write_manifest

with logs.step(snakemake):
    roots = [Path(root) for root in snakemake.params.roots]
    write_manifest(Path(snakemake.output.manifest), source=snakemake.params.label, roots=roots)
