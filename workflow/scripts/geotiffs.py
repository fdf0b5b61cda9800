"""Write one GeoTIFF a predicted patch, under the published names."""

import numpy as np
import pandas as pd

from cerraseg import logs, store
from cerraseg.export import export_geotiffs

with logs.step(snakemake.log[0]):
    rows = store.rows_of(snakemake.input.split, snakemake.params.patches)
    export_geotiffs(
        pd.read_parquet(snakemake.input.table).iloc[rows],
        {
            name: np.load(file, mmap_mode="r")
            for name, file in (("seg", snakemake.input.prediction), ("edg", snakemake.input.get("edges")))
            if file
        },
        snakemake.output.folder,
        model=snakemake.params.scenario["model"],
        weighting=snakemake.params.scenario["weighting"],
    )
