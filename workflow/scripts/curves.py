"""Draw a scenario's training curves."""

import pandas as pd

from cerraseg import figures, logs

with logs.step(snakemake.log[0]):
    figures.curves(
        pd.read_csv(snakemake.input.history),
        snakemake.output.curves,
        title=snakemake.wildcards.scenario,
        source=snakemake.params.label,
    )
