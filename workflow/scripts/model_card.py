"""Write a scenario's model card."""

from pathlib import Path

from cerraseg.config.recipes import Recipe
from cerraseg.config.scenario import Scenario
from cerraseg.core.layout import SOURCE
from cerraseg.orchestration.step import step
from cerraseg.report import model_card, model_card_facts

with step(snakemake):
    model_card.write(
        Path(snakemake.output.card),
        model_card_facts.Sources(**{name: Path(file) if file else None for name, file in snakemake.input.items()}),
        model_card_facts.Run(
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
