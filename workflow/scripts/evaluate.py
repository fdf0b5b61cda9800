"""Score the predicted test patches of a scenario."""

from pathlib import Path

import pandas as pd

from cerraseg.config.dataset import Dataset
from cerraseg.config.scenario import Scenario
from cerraseg.data import packed
from cerraseg.evaluation import score_files
from cerraseg.evaluation.evaluate import evaluate
from cerraseg.orchestration.step import step

with step(snakemake):
    history = snakemake.input.get("history")
    scores = evaluate(
        Scenario(**snakemake.params.scenario),
        Dataset.of(snakemake.config["dataset"]),
        packed.open_store(snakemake.input.images, snakemake.input.masks, snakemake.input.header),
        Path(snakemake.input.split),
        Path(snakemake.input.ids),
        snakemake.input.prediction,
        snakemake.input.edges,
        Path(snakemake.input.calibration),
        Path(snakemake.input.distances),
        Path(snakemake.output.metrics).parent,
        {"source": snakemake.params.label, "training": {"epochs": len(pd.read_csv(history))} if history else {}},
        Path(parts) if (parts := snakemake.input.get("parts")) else None,
    )
    score_files.write_headlines(Path(snakemake.output.summary), scores)
