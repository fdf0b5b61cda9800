"""Gather all scenarios into tables and a chart, with the paper's values."""

from cerraseg.config.dataset import Dataset
from cerraseg.data.splits.file_lists import published_test_part
from cerraseg.evaluation import benchmark
from cerraseg.orchestration.step import step
from cerraseg.report import charts
from cerraseg.report.benchmark import tables

with step(snakemake):
    files, out = snakemake.input.metrics, snakemake.output
    labels = {"title": "Benchmark", "source": snakemake.params.label}
    dataset = Dataset.of(snakemake.config["dataset"])
    found = published_test_part(snakemake.input.parts)
    comparable, note = found if snakemake.params.label == benchmark.PAPER_DATA else (False, "")
    table = benchmark.collect(files, snakemake.input.paper, dataset, comparable=comparable)
    classes, pairs = benchmark.per_class(files, dataset), benchmark.pairs(files, dataset)
    tables.write_csv(table, out.csv)
    tables.write_csv(classes, out.classes)
    tables.write_csv(pairs, out.pairs)
    tables.write_markdown(table, classes, pairs, out.markdown, dataset, note=note, **labels)
    tables.write_latex(table, out.latex, **labels)
    charts.benchmark_bars(table, out.chart, dataset, **labels)
