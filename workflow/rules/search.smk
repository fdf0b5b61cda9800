"""A search of hyper-parameters from one scenario, on demand: `snakemake tune`."""


rule trials:
    input:
        unpack(to_search),
    output:
        done=f"{R}/tune/worker_{{worker}}.json",
        provenance=f"{R}/provenance/trials/{{worker}}.json",
    log:
        f"{R}/logs/trials/{{worker}}.log",
    benchmark:
        f"{R}/timings/trials/{{worker}}.tsv"
    wildcard_constraints:
        worker=r"[1-9]\d*",
    conda:
        CONDA_TORCH
    threads: 4 if GPU else min(4, max(1, CORES // TUNE["workers"]))
    resources:
        gpu=GPU,
    params:
        code=package_digest("trials"),
        scenario=lambda wildcards: fields(SEARCHED),
        recipe=lambda wildcards: recipe(SEARCHED),
        settings=lambda wildcards: model_settings(SEARCHED),
        pretrained=lambda wildcards: pretrained_digest(SEARCHED),
        training=config["training"]
        | {"epochs": TUNE["epochs"] or config["training"]["epochs"]},
        tune={
            key: TUNE[key] for key in ("space", "trials", "workers", "pruner", "seed")
        },
        storage=STORAGE,
        folder=f"{R}/resume/tune",  # not an output: Snakemake would delete what a restart goes on from
    script:
        "../scripts/trials.py"


rule tune:
    input:
        workers=expand(f"{R}/tune/worker_{{n}}.json", n=range(1, TUNE["workers"] + 1)),
    output:
        trials=f"{R}/tune/trials.csv",
        best=f"{R}/tune/best.yaml",
        figure=f"{R}/tune/search.svg",
        provenance=f"{R}/provenance/tune.json",
    log:
        f"{R}/logs/tune.log",
    benchmark:
        f"{R}/timings/tune.tsv"
    conda:
        CONDA_LIGHT
    threads: 1
    params:
        code=package_digest("tune"),
        scenario=TUNE["scenario"],
        space=TUNE["space"],
        storage=STORAGE,
        config={key: value for key, value in config.items() if key != "tune"},
        label=LABEL,
        folder=f"{R}/resume/tune",
    script:
        "../scripts/tune.py"
