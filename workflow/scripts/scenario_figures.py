"""Draw a scenario's confusion matrix, its scores by distance and its map."""

from pathlib import Path

from cerraseg.config.dataset import Dataset
from cerraseg.evaluation import score_files
from cerraseg.orchestration.step import step
from cerraseg.report import charts, figures, map_figures

with step(snakemake):
    level = snakemake.params.scenario["level"]
    classes = Dataset.of(snakemake.config["dataset"]).classes(level)
    named = {"title": snakemake.wildcards.scenario, "source": snakemake.params.label}
    figures.confusion(
        score_files.read_confusion(snakemake.input.confusion), classes, snakemake.output.confusion, **named
    )
    metrics = score_files.read_metrics(Path(snakemake.input.metrics).parent)
    charts.scores_by_distance(metrics["leakage"], snakemake.output.distance, **named)
    charts.reliability(metrics["calibration"], snakemake.output.reliability, **named)
    mosaic, truth = Path(snakemake.input.mosaic), Path(snakemake.input.truth)
    largest = max(mosaic.glob("prediction_*.tif"), key=lambda path: path.stat().st_size).name
    map_figures.map_panel(
        mosaic / largest,
        classes,
        snakemake.output.map,
        truth=truth / level / largest.replace("prediction", "truth"),
        confidence=mosaic / largest.replace("prediction", "confidence"),
        image=truth / largest.replace("prediction", "image"),
        **named,
    )
