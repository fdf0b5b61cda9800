"""Write the split table of one fold of a cross-validation."""

from cerraseg.config.dataset import Dataset
from cerraseg.data.splits import assign
from cerraseg.orchestration.step import step

with step(snakemake):
    settings = dict(snakemake.params.settings)
    assign.write_fold(
        snakemake.input.table,
        snakemake.input.split,
        Dataset.of(snakemake.config["dataset"]),
        snakemake.output.split,
        fold=int(snakemake.wildcards.fold),
        shares={part: settings.pop(part) for part in assign.PARTS},
        **settings,
    )
