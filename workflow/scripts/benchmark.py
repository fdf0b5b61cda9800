"""Gather all scenarios into one table and chart, with the paper's values."""

from cerraseg import benchmark, figures, logs

with logs.step(snakemake.log[0]):
    label = snakemake.params.label
    table = benchmark.collect(snakemake.input.metrics, snakemake.input.paper, comparable=snakemake.params.comparable)
    benchmark.write_csv(table, snakemake.output.csv)
    benchmark.write_markdown(table, snakemake.output.markdown, title="Benchmark", source=label)
    figures.benchmark_bars(table, snakemake.output.chart, title="Benchmark", source=label)
