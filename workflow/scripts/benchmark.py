"""Gather all scenarios into tables and a chart, with the paper's values."""

from cerraseg.config.dataset import Dataset
from cerraseg.data.splits import file_lists
from cerraseg.evaluation import benchmark
from cerraseg.orchestration.step import step
from cerraseg.report import charts
from cerraseg.report.benchmark import tables

with step(snakemake):
    files, out = snakemake.input.metrics, snakemake.output
    labels = {"title": "Benchmark", "source": snakemake.params.label}
    dataset = Dataset.of(snakemake.config["dataset"])
    published, parts = snakemake.params.label == benchmark.PAPER_DATA, snakemake.input.parts
    comparable = published and file_lists.is_published(parts)
    table = benchmark.collect(files, snakemake.input.paper, dataset, comparable=comparable)
    classes, pairs = benchmark.per_class(files, dataset), benchmark.pairs(files, dataset)
    tables.write_csv(table, out.csv)
    tables.write_csv(classes, out.classes)
    tables.write_csv(pairs, out.pairs)
    note = file_lists.describe(parts) if published else ""
    tables.write_markdown(table, classes, pairs, out.markdown, dataset, note=note, **labels)
    tables.write_latex(table, out.latex, **labels)
    charts.benchmark_bars(table, out.chart, dataset, **labels)
