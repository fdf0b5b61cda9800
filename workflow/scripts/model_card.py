"""Write a scenario's model card."""

from pathlib import Path

from cerraseg import card_facts, logs, model_card
from cerraseg.layout import SOURCE
from cerraseg.recipes import Recipe
from cerraseg.scenario import Scenario

with logs.step(snakemake):
    model_card.write(
        Path(snakemake.output.card),
        card_facts.Sources(**{name: Path(file) if file else None for name, file in snakemake.input.items()}),
        card_facts.Run(
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
