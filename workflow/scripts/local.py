"""Write the manifest of the user's own folders."""

from pathlib import Path

from cerraseg.core import logs
from cerraseg.data.download import write_manifest

with logs.step(snakemake):
    roots = [Path(root) for root in snakemake.params.roots]
    write_manifest(Path(snakemake.output.manifest), source=snakemake.params.label, roots=roots)
