"""Tabulate the hectares of each class on a scenario's maps, with what the test patches say of them."""

from pathlib import Path

from cerraseg.config.dataset import Dataset
from cerraseg.evaluation import area_estimates
from cerraseg.evaluation.score_files import read_units
from cerraseg.orchestration.step import step

with step(snakemake):
    maps = sorted(Path(snakemake.input.mosaic).glob("prediction_*.tif"))
    _, counts = read_units(snakemake.input.patches)
    classes = Dataset.of(snakemake.config["dataset"]).classes(snakemake.params.scenario["level"])
    area_estimates.write_area_table(
        snakemake.output.areas, area_estimates.area_table(maps, counts, classes, area_estimates.TEST_PATCHES)
    )
