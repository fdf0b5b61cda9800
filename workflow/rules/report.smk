"""Tables and figures for people, which `snakemake --report` binds together, and digests for DVC."""

TABLES = multiext(
    f"{R}/benchmark", ".csv", ".md", ".tex", ".svg", "_classes.csv", "_pairs.csv"
)
FIGURES = [
    f"{R}/class_shares.svg",
    *each_model(of_scenario("curves.svg"), but=ADOPTED),
    *each_scenario(of_scenario("confusion.svg")),
    *each_scenario(of_scenario("distance.svg")),
    *each_scenario(of_scenario("map.png")),
    f"{R}/split.png",
    f"{R}/overview.html",
]
MAPS = [
    *each_scenario(of_scenario("mosaic")),
    *each_scenario(scores_of_scenario("areas.csv")),
    f"{R}/truth",
    *(each_scenario(of_scenario("patches")) if config["predict"]["geotiffs"] else []),
]
CHECKPOINTS = each_model(of_scenario("checkpoint.pt"))
SCORES = each_scenario(scores_of_scenario("summary.json"))
CARDS = each_model(of_scenario("model_card.md"))


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
        provenance=f"{R}/provenance/class_shares.json",
    log:
        f"{R}/logs/class_shares.log",
    benchmark:
        f"{R}/timings/class_shares.tsv"
    conda:
        CONDA_LIGHT
    threads: 1
    params:
        code=package_digest("class_shares"),
        level=max(scenario.level for scenario in scenarios),
        label=LABEL,
    script:
        "../scripts/class_shares.py"


rule split_map:
    input:
        table=f"{R}/patches.parquet",
        split=f"{R}/split.csv",
    output:
        report(
            f"{R}/split.png",
            category="Data",
            caption="../report/split_map.rst",
        ),
        provenance=f"{R}/provenance/split_map.json",
    log:
        f"{R}/logs/split_map.log",
    benchmark:
        f"{R}/timings/split_map.tsv"
    conda:
        CONDA_LIGHT
    threads: 1
    params:
        code=package_digest("split_map"),
        scheme=config["split"]["scheme"],
        block_km=config["split"].get("block_km"),
        label=LABEL,
    script:
        "../scripts/split_map.py"


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
        provenance=f"{R}/provenance/curves/{{scenario}}.json",
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
        confusion=scores_of_scenario("confusion.csv"),
        metrics=scores_of_scenario("metrics.json"),
        mosaic=of_scenario("mosaic"),
        truth=f"{R}/truth",
    output:
        confusion=report(
            of_scenario("confusion.svg"),
            category="Scores",
            labels={"scenario": "{scenario}"},
            caption="../report/confusion.rst",
        ),
        distance=report(
            of_scenario("distance.svg"),
            category="Scores",
            labels={"scenario": "{scenario}"},
            caption="../report/distance.rst",
        ),
        map=report(
            of_scenario("map.png"),
            category="Maps",
            labels={"scenario": "{scenario}"},
            caption="../report/map.rst",
        ),
        provenance=f"{R}/provenance/scenario_figures/{{scenario}}.json",
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
        metrics=scores_of_scenario("metrics.json"),
        header=PACKED["header"],
        manifest=f"{R}/manifest.json",
        split=of_split("split.csv"),
        statistics=of_split("statistics.json"),
        history=where(others(ADOPTED), "history.csv"),
        origin=where(ADOPTED, "origin.json"),
    output:
        card=of_scenario("model_card.md"),
        provenance=f"{R}/provenance/model_card/{{scenario}}.json",
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
        pretrained=lambda wildcards: os.path.basename(pretrained(wildcards)),
        training=config["training"],
        split=config["split"],
        label=LABEL,
    script:
        "../scripts/model_card.py"


rule benchmark:
    input:
        metrics=each_scenario(scores_of_scenario("metrics.json")),
        patches=each_scenario(scores_of_scenario("patches.npz")),
        paper=os.path.relpath(BASE / "reference/paper_scores.csv"),
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
        provenance=f"{R}/provenance/benchmark.json",
    log:
        f"{R}/logs/benchmark.log",
    benchmark:
        f"{R}/timings/benchmark.tsv"
    conda:
        CONDA_LIGHT
    threads: 1
    params:
        code=package_digest("benchmark"),
        scenarios=list(SCENARIOS),
        comparable=COMPARABLE,
        label=LABEL,
    script:
        "../scripts/benchmark.py"


rule overview:
    input:
        benchmark=f"{R}/benchmark.csv",
        metrics=each_scenario(scores_of_scenario("metrics.json")),
        patches=each_scenario(scores_of_scenario("patches.npz")),
        histories=each_model(of_scenario("history.csv"), but=ADOPTED),
        mosaics=each_scenario(of_scenario("mosaic")),
        areas=each_scenario(scores_of_scenario("areas.csv")),
        truth=f"{R}/truth",
        maps=each_map(of_map("map")),
        map_areas=each_map(scores_of_scenario("areas_{scene}.csv")),
        scenes=expand(of_scene("truth"), scene=SCENES),
        header=PACKED["header"],
        manifest=f"{R}/manifest.json",
        split=f"{R}/split.csv",
    output:
        page=report(
            f"{R}/overview.html",
            category="Overview",
            caption="../report/overview.rst",
        ),
        provenance=f"{R}/provenance/overview.json",
    log:
        f"{R}/logs/overview.log",
    benchmark:
        f"{R}/timings/overview.tsv"
    conda:
        CONDA_LIGHT
    threads: 1
    params:
        code=package_digest("overview"),
        levels={id_: scenario.level for id_, scenario in SCENARIOS.items()},
        scenes=list(SCENES),
        maps=lambda wildcards: of_maps(),  # for DVC, see BY_DIGEST in cerraseg/orchestration/dvc_sync/commands.py
        configuration=config | {"tune": TUNE | {"storage": masked(TUNE["storage"])}},
        label=LABEL,
    script:
        "../scripts/overview.py"


rule digests:
    output:
        digests=f"{R}/digests.json",
        provenance=f"{R}/provenance/digests.json",
    log:
        f"{R}/logs/digests.log",
    benchmark:
        f"{R}/timings/digests.tsv"
    conda:
        CONDA_LIGHT
    threads: 1
    params:
        code=package_digest("digests"),
        digests=lambda wildcards: digests(),
    script:
        "../scripts/digests.py"
