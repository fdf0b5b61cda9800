"""Write what the search found: its trials, its best one as a configuration, and a figure."""

from pathlib import Path

from cerraseg.config.storage_url import storage_of
from cerraseg.orchestration.step import step
from cerraseg.training.tuning.report import Report, write_search

with step(snakemake):
    write_search(
        Path(snakemake.input.workers[0]),
        snakemake.params.scenario,
        snakemake.params.space,
        storage_of(snakemake.config),
        snakemake.params.config,
        snakemake.params.label,
        Report(*map(Path, (snakemake.output.trials, snakemake.output.best, snakemake.output.figure))),
        Path(snakemake.params.folder),
    )
