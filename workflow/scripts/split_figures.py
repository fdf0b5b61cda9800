"""Draw the class shares of each part of the split, and where the parts lie."""

from cerraseg.config.dataset import Dataset
from cerraseg.data.tables import read_patch_table, read_split
from cerraseg.orchestration.step import step
from cerraseg.report import figures, split_map

with step(snakemake):
    read, out, params = snakemake.input, snakemake.output, snakemake.params
    level = Dataset.of(snakemake.config["dataset"]).levels[params.level]
    parts = read_split(read.split)["split"]
    table = read_patch_table(read.table, level.count_columns())
    counts = {
        part: table[parts == part].sum().tolist() for part in ("train", "validation", "test") if (parts == part).any()
    }
    title = f"Class shares, {params.level.upper()}"
    figures.class_shares(counts, level.classes, out.shares, title=title, source=params.label)
    title = f"Split: {params.scheme}"
    split_map.draw_split_map(
        read.table, read.split, out.map, title=title, source=params.label, block_km=params.block_km
    )
