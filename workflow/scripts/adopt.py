"""Take a released or a user's own checkpoint as a scenario's."""

import json
from pathlib import Path

from cerraseg.config.dataset import Dataset
from cerraseg.config.recipes import Recipe
from cerraseg.config.scenario import Scenario
from cerraseg.models import released
from cerraseg.models.adopt import adopt
from cerraseg.orchestration.step import step

with step(snakemake):
    scenario = Scenario(**snakemake.params.scenario)
    listing = snakemake.input.get("listing")
    adopt(
        released.released_checkpoint(Path(listing), scenario) if listing else Path(snakemake.input.checkpoint),
        scenario,
        Recipe(**snakemake.params.recipe),
        snakemake.params.settings,
        json.loads(Path(snakemake.input.statistics).read_text()),
        Dataset.of(snakemake.config["dataset"]),
        Path(snakemake.output.best),
        Path(snakemake.output.origin),
    )
