"""Draw the class shares of each part of the split."""

from cerraseg.core.layout import count_columns
from cerraseg.core.taxonomy import LEVELS
from cerraseg.data.tables import read_patch_table, read_split
from cerraseg.orchestration.step import step
from cerraseg.report import figures

with step(snakemake):
    level = snakemake.params.level
    parts = read_split(snakemake.input.split)["split"]
    table = read_patch_table(snakemake.input.table, count_columns(level))
    counts = {
        part: table[parts == part].sum().tolist() for part in ("train", "validation", "test") if (parts == part).any()
    }
    figures.class_shares(
        counts,
        LEVELS[level],
        snakemake.output[0],
        title=f"Class shares, {level.upper()}",
        source=snakemake.params.label,
    )
