"""Cross-validation: what each fold has of its own, and one prediction of every patch by the model that never saw it."""

if FOLDS:

    rule fold:
        input:
            table=f"{R}/patches.parquet",
            split=f"{R}/split.csv",
        output:
            split=f"{R}/{FOLD}split.csv",
            provenance=f"{R}/provenance/{FOLD}split.json",
        log:
            f"{R}/logs/{FOLD}split.log",
        benchmark:
            f"{R}/timings/{FOLD}split.tsv"
        conda:
            CONDA_TORCH
        threads: 1
        params:
            code=package_digest("fold"),
            settings={
                key: config["split"][key]
                for key in ("train", "validation", "test", "validation_seed")
                + ("buffer_km", "tolerance")
            },
        script:
            "../scripts/fold.py"

    rule pool:
        input:
            splits=each_fold(f"{R}/{FOLD}split.csv"),
            predictions=each_fold(of_scenario("fold{fold}/prediction.npy")),
            confidences=each_fold(of_scenario("fold{fold}/confidence.npy")),
            edges=each_fold(of_scenario("fold{fold}/edges.npy")),
        output:
            prediction=of_scenario("prediction.npy"),
            confidence=of_scenario("confidence.npy"),
            edges=of_scenario("edges.npy"),
            provenance=f"{R}/provenance/pool/{{scenario}}.json",
        log:
            f"{R}/logs/pool/{{scenario}}.log",
        benchmark:
            f"{R}/timings/pool/{{scenario}}.tsv"
        wildcard_constraints:
            scenario=only(SCENARIOS),
        conda:
            CONDA_LIGHT
        threads: 1
        params:
            code=package_digest("pool"),
        script:
            "../scripts/pool.py"
