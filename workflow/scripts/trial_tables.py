"""Write what the search found: its trials, its best one as a configuration, and figures."""

import json
from pathlib import Path

import optuna

from cerraseg.config.dataset import Dataset
from cerraseg.orchestration.step import step
from cerraseg.report.search_figure import draw_search
from cerraseg.training.tuning.study import open_storage, write_search

told, out = snakemake.params, snakemake.output
with step(snakemake):
    name = json.loads(Path(snakemake.input.workers[0]).read_text())["study"]
    study = optuna.load_study(study_name=name, storage=open_storage(told.storage))
    dataset = Dataset.of(snakemake.config["dataset"])
    found = Path(out.trials), Path(out.best)
    write_search(study, told.scenario, told.space, told.config, dataset, told.label, *found)
    draw_search(study, Path(out.history).parent, title=f"Search from {told.scenario}", source=told.label)
