"""From a checkpoint to predictions of patches, mosaics of them, and maps of whole scenes."""


rule predict:
    input:
        **AS_PACKED,
        checkpoint=of_model("checkpoint.pt"),
        split=of_split("split.csv"),
    output:
        ids=of_scenario("prediction_ids.csv"),
        prediction=of_scenario("prediction.npy"),
        confidence=of_scenario("confidence.npy"),
        edges=of_scenario("edges.npy"),
        calibration=of_scenario("calibration.npz"),
    log:
        logs("predict/{scenario}"),
    benchmark:
        timings("predict/{scenario}")
    wildcard_constraints:
        scenario=only(RUN.models),
    conda:
        CONDA_TORCH
    threads: share_of_cores(len(RUN.models))
    resources:
        gpu=GPU,
    params:
        code=package_digest("predict"),
        patches=by_scenario(RUN.predicted),
        batch_size=config["predict"]["batch_size"],
        augment=config["predict"]["augment"],
        precision=config["predict"]["precision"],
    script:
        "../scripts/predict.py"


if RUN.folds:

    rule pool:
        input:
            table=results("patches.parquet"),
            ids=each_fold(of_scenario("fold{fold}/prediction_ids.csv")),
            predictions=each_fold(of_scenario("fold{fold}/prediction.npy")),
            confidences=each_fold(of_scenario("fold{fold}/confidence.npy")),
            edges=each_fold(of_scenario("fold{fold}/edges.npy")),
            tallies=each_fold(of_scenario("fold{fold}/calibration.npz")),
        output:
            ids=of_scenario("prediction_ids.csv"),
            prediction=of_scenario("prediction.npy"),
            confidence=of_scenario("confidence.npy"),
            edges=of_scenario("edges.npy"),
            calibration=of_scenario("calibration.npz"),
        log:
            logs("pool/{scenario}"),
        benchmark:
            timings("pool/{scenario}")
        wildcard_constraints:
            scenario=only(RUN.scenarios),
        conda:
            CONDA_LIGHT
        params:
            code=package_digest("pool"),
        script:
            "../scripts/pool.py"


# Predictions of a cross-validation are of a model each fold: no tile can see the patches of two.
CONTEXT = config["mosaic"]["context"] and not RUN.folds


rule mosaic:
    input:
        **(AS_PACKED | {"checkpoint": of_model("checkpoint.pt")} if CONTEXT else {}),
        table=results("patches.parquet"),
        ids=of_scenario("prediction_ids.csv"),
        prediction=of_scenario("prediction.npy"),
        confidence=of_scenario("confidence.npy"),
        edges=of_scenario("edges.npy"),
    output:
        folder=directory(of_scenario("mosaic")),
    log:
        logs("mosaic/{scenario}"),
    benchmark:
        timings("mosaic/{scenario}")
    conda:
        CONDA_TORCH if CONTEXT else CONDA_LIGHT
    threads: share_of_cores(len(RUN.scenarios)) if CONTEXT else 1
    resources:
        gpu=GPU if CONTEXT else 0,
    params:
        code=package_digest("mosaic"),
        context=by_scenario(RUN.context),
        # Not an output: Snakemake would delete what a restart goes on from.
        unfinished=results("resume/mosaics/{scenario}"),
        dataset=RUN.looks,
        scenario=by_scenario(RUN.fields),
        hierarchical=by_scenario(RUN.hierarchical),
        label=RUN.label,
    script:
        "../scripts/mosaic.py"


rule truth:
    input:
        **AS_PACKED,
        table=results("patches.parquet"),
        split=results("split.csv"),
    output:
        folder=directory(results("truth")),
    log:
        logs("truth"),
    benchmark:
        timings("truth")
    conda:
        CONDA_LIGHT
    params:
        code=package_digest("truth"),
        dataset=RUN.looks,
        patches=RUN.patches,
        label=RUN.label,
    script:
        "../scripts/truth.py"


rule geotiffs:
    input:
        table=results("patches.parquet"),
        ids=of_scenario("prediction_ids.csv"),
        prediction=of_scenario("prediction.npy"),
        edges=of_scenario("edges.npy"),
    output:
        folder=directory(of_scenario("patches")),
    log:
        logs("geotiffs/{scenario}"),
    benchmark:
        timings("geotiffs/{scenario}")
    conda:
        CONDA_LIGHT
    params:
        code=package_digest("geotiffs"),
        dataset=RUN.looks,
        scenario=by_scenario(RUN.fields),
    script:
        "../scripts/geotiffs.py"


if RUN.simulated:

    rule simulate_scene:
        output:
            **RUN.simulated,
        log:
            logs("simulate_scene"),
        benchmark:
            timings("simulate_scene")
        conda:
            CONDA_LIGHT
        params:
            code=package_digest("simulate_scene"),
            settings=SIMULATED_SCENE,
        script:
            "../scripts/simulate_scene.py"


rule scene:
    input:
        images=by_scene(RUN.scene_images),
        reference=by_scene(RUN.scene_reference),
        statistics=results(f"{FOLD}statistics.json").format(fold=1),
    output:
        facts=of_scene("scene.json"),
        truth=directory(of_scene("truth")),
    log:
        logs("scene/{scene}"),
    benchmark:
        timings("scene/{scene}")
    priority: 1  # what is refused is refused before anything is trained
    conda:
        CONDA_LIGHT
    params:
        code=package_digest("scene"),
        dataset=RUN.looks,
        scene=by_scene(RUN.scene_settings),
        sensors=by_scene(RUN.scene_sensors),
        resampling=config["maps"]["resampling"],
        check_scale=config["maps"]["check_scale"],
        label=by_scene(RUN.scene_label),
        # Of the images themselves, which a colleague who has the maps from DVC need not have, nothing is asked.
        simulated=by_scene(simulated_by),
    script:
        "../scripts/scene.py"


rule map:
    input:
        images=by_scene(RUN.scene_images),
        facts=of_scene("scene.json"),
        checkpoint=of_model("checkpoint.pt"),
    output:
        folder=directory(of_map("map")),
    log:
        logs("map/{scene}/{scenario}"),
    benchmark:
        timings("map/{scene}/{scenario}")
    wildcard_constraints:
        scene=only(scene for scene in RUN.scenes if scene not in RUN.region_of),  # regions': regions.smk
    conda:
        CONDA_TORCH
    threads: share_of_cores(len(RUN.maps))
    resources:
        gpu=GPU,
    params:
        code=package_digest("map"),
        dataset=RUN.looks,
        scene=by_scene(RUN.scene_settings),
        settings=RUN.map_settings,
        label=by_scene(RUN.scene_label),
        # Not an output: Snakemake would delete what a restart goes on from.
        unfinished=results("resume/maps/{scene}/{scenario}"),
    script:
        "../scripts/map.py"


rule polygons:
    input:
        map=of_map("map"),
    output:
        raster=of_map("sieved.tif"),
        vector=of_map("polygons.gpkg"),
    log:
        logs("polygons/{scene}/{scenario}"),
    benchmark:
        timings("polygons/{scene}/{scenario}")
    conda:
        CONDA_LIGHT
    params:
        code=package_digest("polygons"),
        dataset=RUN.looks,
        scenario=by_scenario(RUN.fields),
        minimum_hectares=config["maps"]["minimum_hectares"],
    script:
        "../scripts/polygons.py"
