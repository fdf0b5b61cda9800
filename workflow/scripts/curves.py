"""Draw a scenario's training curves."""

import numpy as np

from cerraseg.orchestration.step import step
from cerraseg.report import figures

with step(snakemake):
    history = np.genfromtxt(snakemake.input.history, delimiter=",", names=True, dtype=None, encoding="utf-8", ndmin=1)
    figures.curves(
        {column: history[column] for column in history.dtype.names},
        snakemake.output.curves,
        title=snakemake.wildcards.scenario,
        source=snakemake.params.label,
    )
