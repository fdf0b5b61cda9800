"""Get the released checkpoints and list which scenario each file is."""

from pathlib import Path

from cerraseg.data.download import download_checkpoints
from cerraseg.models import released
from cerraseg.orchestration.step import step

with step(snakemake):
    settings = dict(snakemake.params.settings)
    folder = download_checkpoints(**settings | {"folder": Path(settings["folder"])})
    released.write_listing(Path(snakemake.output.listing), folder, settings)
