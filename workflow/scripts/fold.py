"""Write the split table of one fold of a cross-validation."""

from cerraseg import logs, split

with logs.step(snakemake):
    settings = dict(snakemake.params.settings)
    split.write_fold(
        snakemake.input.table,
        snakemake.input.split,
        snakemake.output.split,
        fold=int(snakemake.wildcards.fold),
        shares={part: settings.pop(part) for part in split.PARTS},
        **settings,
    )
