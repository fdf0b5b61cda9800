"""From scenes of the configuration to maps, areas, polygons and a STAC item."""

if config["source"] == "simulate":

    rule simulate_scene:
        output:
            **simulated_scene(config),
            provenance=f"{R}/provenance/simulate_scene.json",
        log:
            f"{R}/logs/simulate_scene.log",
        benchmark:
            f"{R}/timings/simulate_scene.tsv"
        conda:
            CONDA_LIGHT
        threads: 1
        params:
            code=package_digest("simulate_scene"),
            settings=config["simulate"]["scene"]
            | {"drift": config["simulate"]["drift"]},
        script:
            "../scripts/simulate_scene.py"


rule scene:
    input:
        unpack(rasters("msi", "sar", "reference")),
        statistics=f"{R}/statistics.json",
    output:
        facts=of_scene("scene.json"),
        truth=directory(of_scene("truth")),
        provenance=f"{R}/provenance/scene/{{scene}}.json",
    log:
        f"{R}/logs/scene/{{scene}}.log",
    benchmark:
        f"{R}/timings/scene/{{scene}}.tsv"
    priority: 1  # what is refused is refused before anything is trained
    conda:
        CONDA_LIGHT
    threads: 1
    params:
        code=package_digest("scene"),
        scene=scene_settings,
        modality=scene_modality,
        resampling=config["maps"]["resampling"],
        check_scale=config["maps"]["check_scale"],
        label=scene_label,
    script:
        "../scripts/scene.py"


rule map:
    input:
        unpack(rasters("msi", "sar")),
        facts=ancient(of_scene("scene.json")),
        checkpoint=of_scenario("checkpoint.pt"),
        statistics=f"{R}/statistics.json",
    output:
        folder=directory(of_map("map")),
        provenance=f"{R}/provenance/map/{{scene}}/{{scenario}}.json",
    log:
        f"{R}/logs/map/{{scene}}/{{scenario}}.log",
    benchmark:
        f"{R}/timings/map/{{scene}}/{{scenario}}.tsv"
    conda:
        CONDA_TORCH
    threads: MAP_THREADS
    resources:
        gpu=GPU,
    params:
        code=package_digest("map"),
        scene=scene_settings,
        settings=MAP_SETTINGS,
        label=scene_label,
        unfinished=f"{R}/resume/maps/{{scene}}/{{scenario}}",
    script:
        "../scripts/map.py"


rule scene_areas:
    input:
        map=of_map("map"),
        truth=of_scene("truth"),
        patches=scores_of_scenario("patches.npz"),
    output:
        areas=scores_of_scenario("areas_{scene}.csv"),
        provenance=f"{R}/provenance/scene_areas/{{scene}}/{{scenario}}.json",
    log:
        f"{R}/logs/scene_areas/{{scene}}/{{scenario}}.log",
    benchmark:
        f"{R}/timings/scene_areas/{{scene}}/{{scenario}}.tsv"
    conda:
        CONDA_LIGHT
    threads: 1
    params:
        code=package_digest("scene_areas"),
        scenario=fields,
    script:
        "../scripts/scene_areas.py"


rule polygons:
    input:
        map=of_map("map"),
    output:
        raster=of_map("sieved.tif"),
        vector=of_map("polygons.gpkg"),
        provenance=f"{R}/provenance/polygons/{{scene}}/{{scenario}}.json",
    log:
        f"{R}/logs/polygons/{{scene}}/{{scenario}}.log",
    benchmark:
        f"{R}/timings/polygons/{{scene}}/{{scenario}}.tsv"
    conda:
        CONDA_LIGHT
    threads: 1
    params:
        code=package_digest("polygons"),
        scenario=fields,
        minimum_hectares=config["maps"]["minimum_hectares"],
    script:
        "../scripts/polygons.py"


rule scene_figures:
    input:
        map=of_map("map"),
        truth=of_scene("truth"),
    output:
        map=report(
            of_map("map.png"),
            category="Maps",
            labels={"scenario": "{scenario}", "scene": "{scene}"},
            caption="../report/scene.rst",
        ),
        provenance=f"{R}/provenance/scene_figures/{{scene}}/{{scenario}}.json",
    log:
        f"{R}/logs/scene_figures/{{scene}}/{{scenario}}.log",
    benchmark:
        f"{R}/timings/scene_figures/{{scene}}/{{scenario}}.tsv"
    conda:
        CONDA_LIGHT
    threads: 1
    params:
        code=package_digest("scene_figures"),
        scenario=fields,
        label=scene_label,
    script:
        "../scripts/scene_figures.py"


rule stac:
    input:
        sources=lambda wildcards: list(rasters("msi", "sar")(wildcards).values()),
        map=of_map("map"),
        areas=scores_of_scenario("areas_{scene}.csv"),
        figure=of_map("map.png"),
        polygons=POLYGONS,
    output:
        item=of_map("item.json"),
        provenance=f"{R}/provenance/stac/{{scene}}/{{scenario}}.json",
    log:
        f"{R}/logs/stac/{{scene}}/{{scenario}}.log",
    benchmark:
        f"{R}/timings/stac/{{scene}}/{{scenario}}.tsv"
    conda:
        CONDA_LIGHT
    threads: 1
    params:
        code=package_digest("stac"),
        scenario=fields,
        date=lambda wildcards: SCENES[wildcards.scene].get("date"),
        label=scene_label,
    script:
        "../scripts/stac.py"
