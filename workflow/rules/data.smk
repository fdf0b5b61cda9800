"""From a source of patches to packed arrays and statistics."""

if config["source"] == "simulate":

    rule simulate:
        output:
            manifest=f"{R}/manifest.json",
            provenance=f"{R}/provenance/source.json",
        log:
            f"{R}/logs/simulate.log",
        benchmark:
            f"{R}/timings/simulate.tsv"
        conda:
            CONDA_LIGHT
        threads: 2
        params:
            code=package_digest("simulate"),
            settings={k: v for k, v in config["simulate"].items() if k != "scene"},
        script:
            "../scripts/simulate.py"

elif config["source"] == "kaggle":

    rule download:
        output:
            manifest=f"{R}/manifest.json",
            provenance=f"{R}/provenance/source.json",
        log:
            f"{R}/logs/download.log",
        benchmark:
            f"{R}/timings/download.tsv"
        conda:
            CONDA_LIGHT
        threads: 1
        params:
            code=package_digest("download"),
            settings=config["kaggle"],
            label=LABEL,
        script:
            "../scripts/download.py"

else:

    rule local:
        output:
            manifest=f"{R}/manifest.json",
            provenance=f"{R}/provenance/source.json",
        log:
            f"{R}/logs/local.log",
        benchmark:
            f"{R}/timings/local.tsv"
        conda:
            CONDA_LIGHT
        threads: 1
        params:
            code=package_digest("local"),
            roots=config["roots"],
            folders=lambda wildcards: layout.fingerprint(config["roots"]),
            label=LABEL,
        script:
            "../scripts/local.py"


rule index:
    input:
        manifest=f"{R}/manifest.json",
    output:
        table=f"{R}/patches.parquet",
        provenance=f"{R}/provenance/index.json",
    log:
        f"{R}/logs/index.log",
        rejected=f"{R}/rejected.csv",  # under log, so that it outlives a failure that it explains
    benchmark:
        f"{R}/timings/index.tsv"
    conda:
        CONDA_LIGHT
    threads: 4
    params:
        code=package_digest("index"),
        settings=config["index"],
    script:
        "../scripts/index.py"


rule split:
    input:
        table=f"{R}/patches.parquet",
    output:
        split=f"{R}/split.csv",
        provenance=f"{R}/provenance/split.json",
    log:
        f"{R}/logs/split.log",
    benchmark:
        f"{R}/timings/split.tsv"
    conda:
        CONDA_TORCH
    threads: 1
    params:
        code=package_digest("split"),
        settings=SPLIT,
    script:
        "../scripts/split.py"


rule distances:
    input:
        table=f"{R}/patches.parquet",
        splits=each_fold(f"{R}/{FOLD}split.csv"),
    output:
        distances=f"{R}/distances.csv",
        provenance=f"{R}/provenance/distances.json",
    log:
        f"{R}/logs/distances.log",
    benchmark:
        f"{R}/timings/distances.tsv"
    conda:
        CONDA_LIGHT
    threads: 1
    params:
        code=package_digest("distances"),
    script:
        "../scripts/distances.py"


rule pack:
    input:
        table=f"{R}/patches.parquet",
    output:
        **PACKED,
        provenance=f"{R}/provenance/pack.json",
    log:
        f"{R}/logs/pack.log",
    benchmark:
        f"{R}/timings/pack.tsv"
    conda:
        CONDA_LIGHT
    threads: 8
    params:
        code=package_digest("pack"),
    script:
        "../scripts/pack.py"


rule statistics:
    input:
        **AS_PACKED,
        table=f"{R}/patches.parquet",
        split=f"{R}/{FOLD}split.csv",
    output:
        statistics=f"{R}/{FOLD}statistics.json",
        provenance=f"{R}/provenance/{FOLD}statistics.json",
    log:
        f"{R}/logs/{FOLD}statistics.log",
    benchmark:
        f"{R}/timings/{FOLD}statistics.tsv"
    conda:
        CONDA_LIGHT
    threads: 2
    params:
        code=package_digest("statistics"),
    script:
        "../scripts/statistics.py"
