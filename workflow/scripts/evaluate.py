"""Score the predicted test patches of a scenario."""

from pathlib import Path

import numpy as np
import pandas as pd

from cerraseg import logs, metrics, store
from cerraseg.taxonomy import LEVELS

with logs.step(snakemake.log[0]):
    scenario = snakemake.params.scenario
    packed = store.open_store(snakemake.input.images, snakemake.input.masks, snakemake.input.header)
    test = store.rows_of(snakemake.input.split, "test")
    predicted = store.rows_of(snakemake.input.split, snakemake.params.patches)
    prediction = np.load(snakemake.input.prediction, mmap_mode="r")[np.searchsorted(predicted, test)]
    classes = LEVELS[scenario["level"]]
    info = {
        "scenario": {"id": snakemake.wildcards.scenario, **scenario},
        "source": snakemake.params.label,
        "patches": len(test),
        "training": {"epochs": len(pd.read_csv(snakemake.input.history))},
    }
    truth = packed.masks[test, packed.level(scenario["level"])]
    confusion = metrics.confusion_matrix(truth, prediction, len(classes))
    scores = metrics.write(Path(snakemake.output.metrics).parent, confusion, classes, info)
    logs.log.info(
        "%d test patches: macro F1 %.2f %%, mIoU %.2f %%", len(test), 100 * scores.macro_f1, 100 * scores.miou
    )
