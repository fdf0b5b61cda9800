"""Write a scenario's model card."""

from pathlib import Path

from cerraseg.config.dataset import Dataset
from cerraseg.config.recipes import Recipe
from cerraseg.config.scenario import Scenario
from cerraseg.core.layout import SOURCE
from cerraseg.orchestration.step import step
from cerraseg.report.model_card.card import Run, Sources, write_model_card

with step(snakemake):
    write_model_card(
        Path(snakemake.output.card),
        Sources(**{name: Path(file) if file else None for name, file in snakemake.input.items()}),
        Run(
            Dataset.of(snakemake.config["dataset"]),
            Scenario(**snakemake.params.scenario),
            Recipe(**snakemake.params.recipe),
            snakemake.params.settings,
            snakemake.params.training,
            snakemake.params.split,
            snakemake.params.label,
            snakemake.params.train_code,
            snakemake.params.pretrained,
        ),
        SOURCE,
    )
