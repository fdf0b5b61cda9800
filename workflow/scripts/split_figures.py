"""Draw the class shares of each part of the split, and where the parts lie."""

from cerraseg.core.layout import count_columns
from cerraseg.core.taxonomy import LEVELS
from cerraseg.data.tables import read_patch_table, read_split
from cerraseg.orchestration.step import step
from cerraseg.report import figures, split_map

with step(snakemake):
    read, out, params = snakemake.input, snakemake.output, snakemake.params
    parts = read_split(read.split)["split"]
    table = read_patch_table(read.table, count_columns(params.level))
    counts = {
        part: table[parts == part].sum().tolist() for part in ("train", "validation", "test") if (parts == part).any()
    }
    title = f"Class shares, {params.level.upper()}"
    figures.class_shares(counts, LEVELS[params.level], out.shares, title=title, source=params.label)
    title = f"Split: {params.scheme}"
    split_map.draw_split_map(
        read.table, read.split, out.map, title=title, source=params.label, block_km=params.block_km
    )
