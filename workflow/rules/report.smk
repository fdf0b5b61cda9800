"""Tables and figures for people; `snakemake --report` binds them together."""

TABLES = multiext(
    f"{R}/benchmark", ".csv", ".md", ".tex", ".svg", "_classes.csv", "_pairs.csv"
)
FIGURES = [
    f"{R}/class_shares.svg",
    *each_scenario("curves.svg", but=ADOPTED),
    *each_scenario("scores/confusion.svg"),
    *each_scenario("map.png"),
]
MAPS = [
    *each_scenario("mosaic"),
    *expand(f"{R}/truth/{{level}}", level=USED_LEVELS),
    *(each_scenario("patches") if config["predict"]["geotiffs"] else []),
]
CHECKPOINTS = each_scenario("checkpoint.pt")
CARDS = each_scenario("model_card.md")


rule class_shares:
    input:
        table=f"{R}/patches.parquet",
        split=f"{R}/split.csv",
    output:
        report(
            f"{R}/class_shares.svg",
            category="Data",
            caption="../report/class_shares.rst",
        ),
    log:
        f"{R}/logs/class_shares.log",
    benchmark:
        f"{R}/timings/class_shares.tsv"
    conda:
        CONDA_LIGHT
    threads: 1
    params:
        code=package_digest("class_shares"),
        level=USED_LEVELS[-1],
        label=LABEL,
    script:
        "../scripts/class_shares.py"


rule curves:
    input:
        history=of_scenario("history.csv"),
    output:
        curves=report(
            of_scenario("curves.svg"),
            category="Training",
            labels={"scenario": "{scenario}"},
            caption="../report/curves.rst",
        ),
    log:
        f"{R}/logs/curves/{{scenario}}.log",
    benchmark:
        f"{R}/timings/curves/{{scenario}}.tsv"
    conda:
        CONDA_LIGHT
    threads: 1
    params:
        code=package_digest("curves"),
        label=LABEL,
    script:
        "../scripts/curves.py"


rule scenario_figures:
    input:
        confusion=of_scenario("scores/confusion.csv"),
        mosaic=of_scenario("mosaic"),
        truth=lambda wildcards: f"{R}/truth/{SCENARIOS[wildcards.scenario].level}",
    output:
        confusion=report(
            of_scenario("scores/confusion.svg"),
            category="Scores",
            labels={"scenario": "{scenario}"},
            caption="../report/confusion.rst",
        ),
        map=report(
            of_scenario("map.png"),
            category="Maps",
            labels={"scenario": "{scenario}"},
            caption="../report/map.rst",
        ),
    log:
        f"{R}/logs/scenario_figures/{{scenario}}.log",
    benchmark:
        f"{R}/timings/scenario_figures/{{scenario}}.tsv"
    conda:
        CONDA_LIGHT
    threads: 1
    params:
        code=package_digest("scenario_figures"),
        scenario=fields,
        label=LABEL,
    script:
        "../scripts/scenario_figures.py"


rule model_card:
    input:
        checkpoint=of_scenario("checkpoint.pt"),
        metrics=of_scenario("scores/metrics.json"),
        header=PACKED["header"],
        manifest=f"{R}/manifest.json",
        split=f"{R}/split.csv",
        statistics=f"{R}/statistics.json",
        history=where(others(ADOPTED), "history.csv"),
        origin=where(ADOPTED, "origin.json"),
    output:
        card=of_scenario("model_card.md"),
    log:
        f"{R}/logs/model_card/{{scenario}}.log",
    benchmark:
        f"{R}/timings/model_card/{{scenario}}.tsv"
    conda:
        CONDA_TORCH  # the card names the versions of the training's environment
    threads: 1
    params:
        code=package_digest("model_card"),
        train_code=trained_by,
        scenario=fields,
        recipe=recipe,
        settings=model_settings,
        training=config["training"],
        split=config["split"],
        label=LABEL,
    script:
        "../scripts/model_card.py"


rule benchmark:
    input:
        metrics=each_scenario("scores/metrics.json"),
        patches=each_scenario("scores/patches.npz"),
        paper=workflow.source_path("../../reference/paper_scores.csv"),
    output:
        csv=report(
            f"{R}/benchmark.csv",
            category="Benchmark",
            caption="../report/benchmark.rst",
        ),
        classes=report(
            f"{R}/benchmark_classes.csv",
            category="Benchmark",
            caption="../report/benchmark.rst",
        ),
        pairs=report(
            f"{R}/benchmark_pairs.csv",
            category="Benchmark",
            caption="../report/benchmark.rst",
        ),
        markdown=f"{R}/benchmark.md",
        latex=f"{R}/benchmark.tex",
        chart=report(
            f"{R}/benchmark.svg",
            category="Benchmark",
            caption="../report/benchmark.rst",
        ),
    log:
        f"{R}/logs/benchmark.log",
    benchmark:
        f"{R}/timings/benchmark.tsv"
    conda:
        CONDA_LIGHT
    threads: 1
    params:
        code=package_digest("benchmark"),
        comparable=COMPARABLE,
        label=LABEL,
    script:
        "../scripts/benchmark.py"
