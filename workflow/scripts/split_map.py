"""Draw where the parts of the split lie."""

from cerraseg.orchestration.step import step
from cerraseg.report import split_map

with step(snakemake):
    split_map.draw(
        snakemake.input.table,
        snakemake.input.split,
        snakemake.output[0],
        title=f"Split: {snakemake.params.scheme}",
        source=snakemake.params.label,
        block_km=snakemake.params.block_km,
    )
