"""From a source of patches to packed arrays and statistics."""

from cerraseg.data.download import refuse_other_landscape

LANDSCAPE = {key: v for key, v in config["simulate"].items() if key != "scene"}
# The manifest once more, with the patches: it goes when they do, and a step that reads patches has them fetched again.
# Nobody else needs them, as after `dvc pull`.
FETCHED = (
    f"{config[config['source']]['folder']}/manifest.json"
    if config["source"] in ("simulate", "kaggle")
    else []
)

if config["source"] == "simulate":
    try:
        if workflow.is_main_process:
            refuse_other_landscape(
                Path(FETCHED), Path(results("manifest.json")), LANDSCAPE
            )
    except ConfigError as error:
        raise WorkflowError(str(error))

    rule simulate:
        output:
            manifest=results("manifest.json"),
            fetched=FETCHED,
        log:
            logs("simulate"),
        benchmark:
            timings("simulate")
        conda:
            CONDA_LIGHT
        threads: 2
        params:
            code=package_digest("simulate"),
            settings=LANDSCAPE,
        script:
            "../scripts/simulate.py"

elif config["source"] == "kaggle":

    rule download:
        output:
            manifest=results("manifest.json"),
            fetched=FETCHED,
        log:
            logs("download"),
        benchmark:
            timings("download")
        conda:
            CONDA_LIGHT
        params:
            code=package_digest("download"),
            dataset=RUN.pixels,
            settings=config["kaggle"],
            label=RUN.label,
        script:
            "../scripts/download.py"

elif config["source"] == "local":

    rule local:
        output:
            manifest=results("manifest.json"),
        log:
            logs("local"),
        benchmark:
            timings("local")
        conda:
            CONDA_LIGHT
        params:
            code=package_digest("local"),
            dataset=RUN.pixels,
            roots=config["roots"],
            folders=lambda wildcards: layout.fingerprint(
                config["roots"], DATASET.folders
            ),
            label=RUN.label,
        script:
            "../scripts/local.py"

else:

    rule rasters:
        input:
            files=RUN.area_files,
        output:
            manifest=results("manifest.json"),
        log:
            logs("rasters"),
        benchmark:
            timings("rasters")
        conda:
            CONDA_LIGHT
        params:
            code=package_digest("rasters"),
            areas=RUN.areas,
            tiling=config["tiling"],
            label=RUN.label,
        script:
            "../scripts/rasters.py"


rule index:
    input:
        manifest=results("manifest.json"),
        fetched=ancient(FETCHED),
    output:
        table=results("patches.parquet"),
    log:
        logs("index"),
        rejected=results("rejected.csv"),  # under log, so that it outlives a failure that it explains
    benchmark:
        timings("index")
    conda:
        CONDA_LIGHT
    threads: 4
    params:
        code=package_digest("index"),
        dataset=RUN.pixels,
        settings=config["index"],
        areas=RUN.areas,
        tiling=config["tiling"],
    script:
        "../scripts/index.py"


rule split:
    input:
        table=results("patches.parquet"),
    output:
        split=results("split.csv"),
        facts=results("split.json"),
    log:
        logs("split"),
    benchmark:
        timings("split")
    conda:
        CONDA_TORCH
    params:
        code=package_digest("split"),
        dataset=RUN.pixels,
        settings=RUN.split,
    script:
        "../scripts/split.py"


if RUN.folds:

    rule fold:
        input:
            table=results("patches.parquet"),
            split=results("split.csv"),
        output:
            split=results(f"{FOLD}split.csv"),
        log:
            logs(f"{FOLD}split"),
        benchmark:
            timings(f"{FOLD}split")
        conda:
            CONDA_TORCH
        params:
            code=package_digest("fold"),
            dataset=RUN.pixels,
            settings=RUN.fold_split,
        script:
            "../scripts/fold.py"


rule distances:
    input:
        table=results("patches.parquet"),
        splits=each_fold(results(f"{FOLD}split.csv")),
    output:
        distances=results("distances.csv"),
    log:
        logs("distances"),
    benchmark:
        timings("distances")
    conda:
        CONDA_LIGHT
    params:
        code=package_digest("distances"),
    script:
        "../scripts/distances.py"


rule pack:
    input:
        table=results("patches.parquet"),
        fetched=ancient(FETCHED),
    output:
        **PACKED,
    log:
        logs("pack"),
    benchmark:
        timings("pack")
    conda:
        CONDA_LIGHT
    threads: 8
    params:
        code=package_digest("pack"),
        dataset=RUN.pixels,
        areas=RUN.areas,
    script:
        "../scripts/pack.py"


rule statistics:
    input:
        **AS_PACKED,
        table=results("patches.parquet"),
        split=results(f"{FOLD}split.csv"),
    output:
        statistics=results(f"{FOLD}statistics.json"),
    log:
        logs(f"{FOLD}statistics"),
    benchmark:
        timings(f"{FOLD}statistics")
    conda:
        CONDA_LIGHT
    threads: 2
    params:
        code=package_digest("statistics"),
        dataset=RUN.pixels,
    script:
        "../scripts/statistics.py"
