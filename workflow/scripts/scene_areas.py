"""Tabulate the hectares of each class on a scene's map, with what its reference or the test patches say of them."""

from pathlib import Path

from cerraseg.core.taxonomy import LEVELS
from cerraseg.evaluation import area_tables
from cerraseg.evaluation.areas import confusion_blocks
from cerraseg.evaluation.score_files import read_patches
from cerraseg.orchestration.step import step

with step(snakemake):
    level = snakemake.params.scenario["level"]
    scene, truth = Path(snakemake.input.map) / "classes.tif", Path(snakemake.input.truth) / level / "truth.tif"
    if truth.exists():
        counts, basis = confusion_blocks(scene, truth, LEVELS[level]), area_tables.REFERENCE_MASK
    else:
        counts, basis = read_patches(snakemake.input.patches)[1], area_tables.TEST_PATCHES
    area_tables.write_area_table(snakemake.output.areas, area_tables.area_table([scene], counts, LEVELS[level], basis))
