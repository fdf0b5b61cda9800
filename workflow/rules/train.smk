"""A checkpoint for every scenario: trained, released by the data set's authors, or the user's own; searches."""


rule train:
    input:
        unpack(by_scenario(pretrained)),
        **AS_PACKED,
        split=of_split("split.csv"),
        statistics=of_split("statistics.json"),
    output:
        best=of_model("checkpoint.pt"),
        last=of_model("last.pt"),
        history=HISTORY,
    log:
        logs("train/{scenario}"),
    benchmark:
        timings("train/{scenario}")
    wildcard_constraints:
        scenario=only(RUN.trained),
    conda:
        CONDA_TORCH
    threads: share_of_cores(len(RUN.models) - len(RUN.baselines))
    resources:
        # Of each node; profiles/slurm may give it several: nodes. A baseline is fitted on the CPU.
        gpu=lambda wildcards: GPU * (wildcards.scenario not in RUN.baselines),
    params:
        code=package_digest("train"),
        dataset=RUN.pixels,
        scenario=by_scenario(RUN.fields),
        recipe=by_scenario(RUN.recipe),
        settings=by_scenario(RUN.model_settings),
        pretrained=by_scenario(RUN.pretrained_digest),
        training=config["training"],
        # Not an output: Snakemake would delete what a restart goes on from.
        resume=results("resume/{scenario}"),
    script:
        "../scripts/train.py"


rule learning_rate:  # on demand: snakemake results/learning_rate/<id>.svg
    input:
        unpack(by_scenario(pretrained)),
        **AS_PACKED,
        split=of_split("split.csv"),
        statistics=of_split("statistics.json"),
    output:
        picture=results("learning_rate/{scenario}.svg"),
        table=results("learning_rate/{scenario}.csv"),
        suggestion=results("learning_rate/{scenario}.json"),
    log:
        logs("learning_rate/{scenario}"),
    benchmark:
        timings("learning_rate/{scenario}")
    wildcard_constraints:
        scenario=only(RUN.trained),
    conda:
        CONDA_TORCH
    threads: share_of_cores(len(RUN.models) - len(RUN.baselines))
    resources:
        gpu=GPU,
    params:
        code=package_digest("learning_rate"),
        dataset=RUN.pixels,
        scenario=by_scenario(RUN.fields),
        recipe=by_scenario(RUN.recipe),
        settings=by_scenario(RUN.model_settings),
        pretrained=by_scenario(RUN.pretrained_digest),
        training=config["training"],
        label=RUN.label,
    script:
        "../scripts/learning_rate.py"


rule released:
    output:
        listing=results("models/released.json"),
    log:
        logs("released"),
    benchmark:
        timings("released")
    conda:
        CONDA_LIGHT
    params:
        code=package_digest("released"),
        settings=config["released"],
    script:
        "../scripts/released.py"


rule adopt:
    input:
        unpack(by_scenario(checkpoint_to_adopt)),
        statistics=results("statistics.json"),
    output:
        best=of_model("checkpoint.pt"),
        origin=of_model("origin.json"),
    log:
        logs("adopt/{scenario}"),
    benchmark:
        timings("adopt/{scenario}")
    wildcard_constraints:
        scenario=only(RUN.adopted),
    conda:
        CONDA_TORCH
    params:
        code=package_digest("adopt"),
        dataset=RUN.pixels,
        scenario=by_scenario(RUN.fields),
        recipe=by_scenario(RUN.recipe),
        settings=by_scenario(RUN.model_settings),
    script:
        "../scripts/adopt.py"


rule ensemble:
    input:
        **AS_PACKED,
        checkpoints=by_scenario(
            lambda id_: expand(of_model("checkpoint.pt"), scenario=RUN.ensembles[id_])
        ),
        splits=by_scenario(
            lambda id_: expand(results(f"{FOLD}split.csv"), fold=RUN.folds_of(id_))
        ),
    output:
        best=of_model("checkpoint.pt"),
        origin=of_model("origin.json"),
    log:
        logs("ensemble/{scenario}"),
    benchmark:
        timings("ensemble/{scenario}")
    wildcard_constraints:
        scenario=only(RUN.ensembles),
    conda:
        CONDA_TORCH
    threads: share_of_cores(len(RUN.models))
    resources:
        gpu=GPU,
    params:
        code=package_digest("ensemble"),
        dataset=RUN.pixels,
        scenario=by_scenario(RUN.fields),
    script:
        "../scripts/ensemble.py"


WORKERS = expand(
    results("tune/worker_{worker}.json"), worker=range(1, TUNE["workers"] + 1)
)


rule trials:
    input:
        unpack(searched(data_to_search)),
    output:
        done=results("tune/worker_{worker}.json"),
    log:
        logs("trials/{worker}"),
    benchmark:
        timings("trials/{worker}")
    conda:
        CONDA_TORCH
    threads: share_of_cores(TUNE["workers"])
    resources:
        gpu=GPU,
    params:
        code=package_digest("trials"),
        dataset=RUN.pixels,
        scenario=searched(RUN.fields),
        recipe=searched(RUN.recipe),
        settings=searched(RUN.model_settings),
        pretrained=searched(RUN.pretrained_digest),
        training=config["training"]
        | {"epochs": TUNE["epochs"] or config["training"]["epochs"]},
        tune={k: TUNE[k] for k in ("space", "trials", "workers", "pruner", "seed")},
        storage=storage_of(config),
        # Not an output: Snakemake would delete what a restart goes on from.
        folder=results("resume/tune"),
    script:
        "../scripts/trials.py"


rule trial_tables:  # on demand: snakemake tune
    input:
        workers=WORKERS,
    output:
        trials=results("tune/trials.csv"),
        best=results("tune/best.yaml"),
        history=results("tune/history.svg"),
        slices=results("tune/slices.svg"),
        importances=results("tune/importances.svg"),
    log:
        logs("trial_tables"),
    benchmark:
        timings("trial_tables")
    conda:
        CONDA_LIGHT
    params:
        code=package_digest("trial_tables"),
        scenario=TUNE["scenario"],
        space=TUNE["space"],
        storage=storage_of(config),
        config={key: value for key, value in config.items() if key != "tune"},
        label=RUN.label,
    script:
        "../scripts/trial_tables.py"
