"""Get the released checkpoints and list which scenario each file is."""

from pathlib import Path

from cerraseg.core import logs
from cerraseg.data.download import download_checkpoints
from cerraseg.models import released

with logs.step(snakemake):
    settings = dict(snakemake.params.settings)
    folder = download_checkpoints(**settings | {"folder": Path(settings["folder"])})
    released.write_listing(Path(snakemake.output.listing), folder, settings)
