"""Merge the masks of the mapped patches to one map per coordinate system."""

import pandas as pd

from cerraseg import logs, store
from cerraseg.files import replacing
from cerraseg.mosaic import mosaic
from cerraseg.taxonomy import LEVELS

with logs.step(snakemake.log[0]), replacing(snakemake.output.folder) as folder:
    folder.mkdir()
    level = snakemake.wildcards.level
    packed = store.open_store(snakemake.input.images, snakemake.input.masks, snakemake.input.header)
    rows = store.rows_of(snakemake.input.split, snakemake.params.patches)
    mosaic(
        pd.read_parquet(snakemake.input.table).iloc[rows],
        packed.masks[:, packed.level(level)]
        if snakemake.params.patches == "all"
        else packed.masks[rows, packed.level(level)],
        folder,
        name="truth",
        classes=LEVELS[level],
        tags={"SOURCE": snakemake.params.label},
        threads=snakemake.threads,
    )
