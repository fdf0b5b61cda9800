"""Download the data set from Kaggle and write its manifest."""

from pathlib import Path

from cerraseg.config.dataset import Dataset
from cerraseg.data.download import copy_manifest, download_kaggle, write_manifest
from cerraseg.orchestration.step import step

with step(snakemake):
    settings = dict(snakemake.params.settings)
    dataset = Dataset.of(snakemake.config["dataset"])
    roots = download_kaggle(settings["dataset"], settings["version"], Path(settings.pop("folder")), dataset)
    write_manifest(Path(snakemake.output.manifest), dataset, source=snakemake.params.label, roots=roots, **settings)
    copy_manifest(Path(snakemake.output.manifest), Path(snakemake.output.fetched))
