"""Write the simulated landscape and its manifest."""

from pathlib import Path

from cerraseg.data.download import copy_manifest, write_manifest
from cerraseg.data.simulation.files import simulate
from cerraseg.data.simulation.land import CERRADATA
from cerraseg.orchestration.step import step

if __name__ == "__main__":
    with step(snakemake):
        settings = dict(snakemake.params.settings)
        folder = Path(settings.pop("folder")) / "cerradata_4mm"
        simulate(folder, workers=snakemake.threads, **settings)
        write_manifest(
            Path(snakemake.output.manifest), CERRADATA, source="simulated landscape", roots=[folder], **settings
        )
        copy_manifest(Path(snakemake.output.manifest), Path(snakemake.output.fetched))
