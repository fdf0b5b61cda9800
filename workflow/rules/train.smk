"""A checkpoint for every scenario: trained, released by the data set's authors, or the user's own."""


rule train:
    input:
        unpack(pretrained_input),
        **AS_PACKED,
        split=of_split("split.csv"),
        statistics=of_split("statistics.json"),
    output:
        best=of_scenario("checkpoint.pt"),
        last=of_scenario("last.pt"),
        history=of_scenario("history.csv"),
        provenance=f"{R}/provenance/train/{{scenario}}.json",
    log:
        f"{R}/logs/train/{{scenario}}.log",
    benchmark:
        f"{R}/timings/train/{{scenario}}.tsv"
    wildcard_constraints:
        scenario=only(others(ADOPTED)),
    conda:
        CONDA_TORCH
    threads: TORCH_THREADS
    resources:
        gpu=GPU,  # of each node; profiles/slurm may give it several: nodes
    params:
        code=package_digest("train"),
        scenario=fields,
        recipe=recipe,
        settings=model_settings,
        pretrained=pretrained_digest,
        training=config["training"],
        resume=f"{R}/resume/{{scenario}}",  # not an output: Snakemake would delete what a restart goes on from
    script:
        "../scripts/train.py"


rule learning_rate:  # on demand: snakemake results/scenarios/<id>/learning_rate.svg
    input:
        unpack(pretrained_input),
        **AS_PACKED,
        split=of_split("split.csv"),
        statistics=of_split("statistics.json"),
    output:
        picture=of_scenario("learning_rate.svg"),
        table=of_scenario("learning_rate.csv"),
        suggestion=of_scenario("learning_rate.json"),
        provenance=f"{R}/provenance/learning_rate/{{scenario}}.json",
    log:
        f"{R}/logs/learning_rate/{{scenario}}.log",
    benchmark:
        f"{R}/timings/learning_rate/{{scenario}}.tsv"
    wildcard_constraints:
        scenario=only(others(ADOPTED)),
    conda:
        CONDA_TORCH
    threads: TORCH_THREADS
    resources:
        gpu=GPU,
    params:
        code=package_digest("learning_rate"),
        scenario=fields,
        recipe=recipe,
        settings=model_settings,
        pretrained=pretrained_digest,
        training=config["training"],
        label=LABEL,
    script:
        "../scripts/learning_rate.py"


rule released:
    output:
        listing=f"{R}/released.json",
        provenance=f"{R}/provenance/released.json",
    log:
        f"{R}/logs/released.log",
    benchmark:
        f"{R}/timings/released.tsv"
    conda:
        CONDA_LIGHT
    threads: 1
    params:
        code=package_digest("released"),
        settings=config["released"],
    script:
        "../scripts/released.py"


rule adopt:
    input:
        unpack(
            lambda wildcards: (
                {"checkpoint": config["checkpoints"][wildcards.scenario]}
                if wildcards.scenario in config["checkpoints"]
                else {"listing": f"{R}/released.json"}
            )
        ),
        statistics=f"{R}/statistics.json",
    output:
        best=of_scenario("checkpoint.pt"),
        origin=of_scenario("origin.json"),
        provenance=f"{R}/provenance/adopt/{{scenario}}.json",
    log:
        f"{R}/logs/adopt/{{scenario}}.log",
    benchmark:
        f"{R}/timings/adopt/{{scenario}}.tsv"
    wildcard_constraints:
        scenario=only(ADOPTED),
    conda:
        CONDA_TORCH
    threads: 1
    params:
        code=package_digest("adopt"),
        scenario=fields,
        recipe=recipe,
        settings=model_settings,
    script:
        "../scripts/adopt.py"
