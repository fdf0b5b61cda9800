"""One training a scenario."""


rule train:
    input:
        **PACKED,
        split=f"{R}/split.csv",
        statistics=f"{R}/statistics.json",
    output:
        best=of_scenario("checkpoint.pt"),
        last=of_scenario("last.pt"),
        history=of_scenario("history.csv"),
    log:
        f"{R}/logs/train/{{scenario}}.log",
    benchmark:
        f"{R}/timings/train/{{scenario}}.tsv"
    conda:
        CONDA_TORCH
    threads: 4
    resources:
        gpu=GPU,
    params:
        code=package_digest("train"),
        scenario=fields,
        settings=lambda wildcards: config[SCENARIOS[wildcards.scenario].model],
        training=config["training"],
        resume=f"{R}/resume/{{scenario}}",  # not an output: Snakemake would delete what a restart goes on from
    script:
        "../scripts/train.py"
