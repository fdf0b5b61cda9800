"""Figures, model cards and pages for people, which `snakemake --report` binds together."""


rule split_figures:
    input:
        table=results("patches.parquet"),
        split=results("split.csv"),
    output:
        shares=report(
            results("class_shares.svg"),
            category="Data",
            caption="../report/class_shares.rst",
        ),
        map=report(
            results("split.png"),
            category="Data",
            caption="../report/split_map.rst",
        ),
    log:
        logs("split_figures"),
    benchmark:
        timings("split_figures")
    conda:
        CONDA_LIGHT
    params:
        code=package_digest("split_figures"),
        dataset=RUN.looks,
        level=RUN.finest_level,
        scheme=config["split"]["scheme"],
        block_km=config["split"].get("block_km"),
        label=RUN.label,
    script:
        "../scripts/split_figures.py"


rule curves:
    input:
        history=HISTORY,
    output:
        curves=report(
            of_figures("curves.svg"),
            category="Training",
            labels={"scenario": "{scenario}"},
            caption="../report/curves.rst",
        ),
    log:
        logs("curves/{scenario}"),
    benchmark:
        timings("curves/{scenario}")
    conda:
        CONDA_LIGHT
    params:
        code=package_digest("curves"),
        label=RUN.label,
    script:
        "../scripts/curves.py"


rule scenario_figures:
    input:
        confusion=scores("confusion.csv"),
        metrics=scores("metrics.json"),
        mosaic=of_scenario("mosaic"),
        truth=results("truth"),
    output:
        confusion=report(
            of_figures("confusion.svg"),
            category="Scores",
            labels={"scenario": "{scenario}"},
            caption="../report/confusion.rst",
        ),
        distance=report(
            of_figures("distance.svg"),
            category="Scores",
            labels={"scenario": "{scenario}"},
            caption="../report/distance.rst",
        ),
        reliability=report(
            of_figures("reliability.svg"),
            category="Scores",
            labels={"scenario": "{scenario}"},
            caption="../report/reliability.rst",
        ),
        map=report(
            of_figures("map.png"),
            category="Maps",
            labels={"scenario": "{scenario}"},
            caption="../report/map.rst",
        ),
    log:
        logs("scenario_figures/{scenario}"),
    benchmark:
        timings("scenario_figures/{scenario}")
    conda:
        CONDA_LIGHT
    params:
        code=package_digest("scenario_figures"),
        dataset=RUN.looks,
        scenario=by_scenario(RUN.fields),
        label=RUN.label,
    script:
        "../scripts/scenario_figures.py"


rule model_card:
    input:
        checkpoint=of_model("checkpoint.pt"),
        metrics=scores("metrics.json"),
        header=PACKED["header"],
        manifest=results("manifest.json"),
        split=of_split("split.csv"),
        parts=results("split.json"),
        statistics=of_split("statistics.json"),
        history=where(RUN.trained, HISTORY),
        origin=where([*RUN.adopted, *RUN.ensembles], of_model("origin.json")),
        baseline=lambda wildcards: (
            scores("metrics.json").format(scenario=baseline)
            if (baseline := RUN.baseline(wildcards.scenario))
            else []
        ),
    output:
        card=of_scenario("model_card.md"),
    log:
        logs("model_card/{scenario}"),
    benchmark:
        timings("model_card/{scenario}")
    conda:
        CONDA_TORCH  # the card names the versions of the training's environment
    params:
        code=package_digest("model_card"),
        dataset=RUN.looks,
        train_code=lambda wildcards: (
            package_digest("train") if wildcards.scenario in RUN.trained else ""
        ),
        scenario=by_scenario(RUN.fields),
        recipe=by_scenario(RUN.recipe),
        settings=by_scenario(RUN.model_settings),
        pretrained=lambda wildcards: ", ".join(
            dict.fromkeys(
                os.path.basename(source.file)
                for source in RUN.pretrained(wildcards.scenario)
            )
        ),
        training=config["training"],
        split=config["split"],
        label=RUN.label,
    script:
        "../scripts/model_card.py"


POLYGONS = (
    [of_map("sieved.tif"), of_map("polygons.gpkg")]
    if config["maps"]["minimum_hectares"]
    else []
)


rule describe_map:
    input:
        sources=by_scene(RUN.scene_images),
        map=of_map("map"),
        truth=of_scene("truth"),
        patches=scores("patches.npz"),
        polygons=POLYGONS,
    output:
        areas=scores("areas_{scene}.csv"),
        figure=report(
            of_map("map.png"),
            category="Maps",
            labels={"scenario": "{scenario}", "scene": "{scene}"},
            caption="../report/scene.rst",
        ),
        item=of_map("item.json"),
    log:
        logs("describe_map/{scene}/{scenario}"),
    benchmark:
        timings("describe_map/{scene}/{scenario}")
    conda:
        CONDA_LIGHT
    params:
        code=package_digest("describe_map"),
        dataset=RUN.looks,
        scenario=by_scenario(RUN.fields),
        date=lambda wildcards: RUN.scenes[wildcards.scene].get("date"),
        label=by_scene(RUN.scene_label),
    script:
        "../scripts/describe_map.py"


rule overview:
    input:
        benchmark=results("benchmark.csv"),
        metrics=each_scenario(scores("metrics.json")),
        patches=each_scenario(scores("patches.npz")),
        histories=each_trained(HISTORY),
        mosaics=each_scenario(of_scenario("mosaic")),
        areas=each_scenario(scores("areas.csv")),
        truth=results("truth"),
        maps=each_map(of_map("map")),
        map_areas=each_map(scores("areas_{scene}.csv")),
        scenes=expand(of_scene("truth"), scene=RUN.scenes),
        header=PACKED["header"],
        manifest=results("manifest.json"),
        split=results("split.csv"),
        parts=results("split.json"),
    output:
        page=report(
            results("overview.html"),
            category="At a glance",  # the first of the menu, which is in alphabetical order
            labels={"page": "Overview"},
            caption="../report/overview.rst",
        ),
    log:
        logs("overview"),
    benchmark:
        timings("overview")
    conda:
        CONDA_LIGHT
    params:
        code=package_digest("overview"),
        dataset=RUN.looks,
        levels={id_: scenario.level for id_, scenario in RUN.scenarios.items()},
        scenes=list(RUN.scenes),
        configuration=config,
        label=RUN.label,
    script:
        "../scripts/overview.py"
