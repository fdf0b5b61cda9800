"""Put the folds' predictions of a scenario together."""

from cerraseg.data import tables
from cerraseg.evaluation import calibration
from cerraseg.mapping.pool_folds import pool_folds
from cerraseg.orchestration.step import step

with step(snakemake):
    read, out = snakemake.input, snakemake.output
    parts = ((read.predictions, out.prediction), (read.confidences, out.confidence), (read.edges, out.edges))
    patches = tables.read_patch_table(read.table, ["id"])["id"].astype(str)
    for folds, pooled in parts:
        pool_folds(patches, read.ids, folds, pooled)
    calibration.write_tally(out.calibration, calibration.pooled([*map(calibration.read_tally, read.tallies)]))
    tables.write_ids(out.ids, patches)
