"""From a checkpoint to predictions, scores and mosaics."""


rule predict:
    input:
        **AS_PACKED,
        checkpoint=of_scenario("checkpoint.pt"),
        split=of_split("split.csv"),
    output:
        prediction=of_scenario("prediction.npy"),
        confidence=of_scenario("confidence.npy"),
        edges=of_scenario("edges.npy"),
        provenance=f"{R}/provenance/predict/{{scenario}}.json",
    log:
        f"{R}/logs/predict/{{scenario}}.log",
    benchmark:
        f"{R}/timings/predict/{{scenario}}.tsv"
    wildcard_constraints:
        scenario=only(MODELS),
    conda:
        CONDA_TORCH
    threads: TORCH_THREADS
    resources:
        gpu=GPU,
    params:
        code=package_digest("predict"),
        patches=predicted,
        batch_size=config["predict"]["batch_size"],
        precision=config["predict"]["precision"],
    script:
        "../scripts/predict.py"


rule evaluate:
    input:
        **AS_PACKED,
        prediction=of_scenario("prediction.npy"),
        edges=of_scenario("edges.npy"),
        history=where(others(ADOPTED), "history.csv"),
        split=of_split("split.csv"),
        distances=f"{R}/distances.csv",
    output:
        metrics=scores_of_scenario("metrics.json"),
        summary=scores_of_scenario("summary.json"),
        patches=scores_of_scenario("patches.npz"),
        classes=scores_of_scenario("classes.csv"),
        confusion=scores_of_scenario("confusion.csv"),
        provenance=f"{R}/provenance/evaluate/{{scenario}}.json",
    log:
        f"{R}/logs/evaluate/{{scenario}}.log",
    benchmark:
        f"{R}/timings/evaluate/{{scenario}}.tsv"
    conda:
        CONDA_LIGHT
    threads: 1
    params:
        code=package_digest("evaluate"),
        scenario=fields,
        patches=predicted,
        label=LABEL,
    script:
        "../scripts/evaluate.py"


rule mosaic:
    input:
        table=f"{R}/patches.parquet",
        split=of_split("split.csv"),
        prediction=of_scenario("prediction.npy"),
        confidence=of_scenario("confidence.npy"),
        edges=of_scenario("edges.npy"),
    output:
        folder=directory(of_scenario("mosaic")),
        provenance=f"{R}/provenance/mosaic/{{scenario}}.json",
    log:
        f"{R}/logs/mosaic/{{scenario}}.log",
    benchmark:
        f"{R}/timings/mosaic/{{scenario}}.tsv"
    conda:
        CONDA_LIGHT
    threads: 1
    params:
        code=package_digest("mosaic"),
        scenario=fields,
        patches=predicted,
        hierarchical=hierarchical,
        label=LABEL,
    script:
        "../scripts/mosaic.py"


rule truth:
    input:
        **AS_PACKED,
        table=f"{R}/patches.parquet",
        split=f"{R}/split.csv",
    output:
        folder=directory(f"{R}/truth"),
        provenance=f"{R}/provenance/truth.json",
    log:
        f"{R}/logs/truth.log",
    benchmark:
        f"{R}/timings/truth.tsv"
    conda:
        CONDA_LIGHT
    threads: 1
    params:
        code=package_digest("truth"),
        patches=PATCHES,
        label=LABEL,
    script:
        "../scripts/truth.py"


rule areas:
    input:
        mosaic=of_scenario("mosaic"),
        patches=scores_of_scenario("patches.npz"),
    output:
        areas=scores_of_scenario("areas.csv"),
        provenance=f"{R}/provenance/areas/{{scenario}}.json",
    log:
        f"{R}/logs/areas/{{scenario}}.log",
    benchmark:
        f"{R}/timings/areas/{{scenario}}.tsv"
    conda:
        CONDA_LIGHT
    threads: 1
    params:
        code=package_digest("areas"),
        scenario=fields,
    script:
        "../scripts/areas.py"


rule geotiffs:
    input:
        table=f"{R}/patches.parquet",
        split=of_split("split.csv"),
        prediction=of_scenario("prediction.npy"),
        edges=of_scenario("edges.npy"),
    output:
        folder=directory(of_scenario("patches")),
        provenance=f"{R}/provenance/geotiffs/{{scenario}}.json",
    log:
        f"{R}/logs/geotiffs/{{scenario}}.log",
    benchmark:
        f"{R}/timings/geotiffs/{{scenario}}.tsv"
    conda:
        CONDA_LIGHT
    threads: 1
    params:
        code=package_digest("geotiffs"),
        scenario=fields,
        patches=predicted,
    script:
        "../scripts/geotiffs.py"
