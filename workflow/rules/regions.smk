"""From a place and two dates to images, and to maps tile by tile; each UTM zone of a region is a scene."""

REGION_SCENES = [scene for scene in RUN.scenes if scene in RUN.region_of]


wildcard_constraints:
    region=only(RUN.regions),
    zone=r"\d+",
    tile=r"\d+_x-?\d+y-?\d+",
    sensor=only(DATASET.sensors),


# Without the code's digest, and of the settings with those alone that the answer depends on: a list is frozen, and only
# another question or --forcerun search asks anew.
rule search:
    output:
        images=results("scenes/{region}/items.ndjson"),
        digest=results("scenes/{region}/items.sha256"),
    log:
        logs("search/{region}"),
    benchmark:
        timings("search/{region}")
    conda:
        CONDA_LIGHT
    params:
        code="",
        question=lambda wildcards: RUN.regions[wildcards.region].searched,
    script:
        "../scripts/search.py"


rule plan:
    input:
        images=ancient(results("scenes/{region}/items.ndjson")),
        digest=results("scenes/{region}/items.sha256"),
    output:
        plan=results("scenes/{region}/plan.json"),
    log:
        logs("plan/{region}"),
    benchmark:
        timings("plan/{region}")
    conda:
        CONDA_LIGHT
    params:
        code=package_digest("plan"),
        tiles=lambda wildcards: RUN.regions[wildcards.region].all_fetched,
    script:
        "../scripts/plan.py"


rule fetch:
    input:
        images=ancient(results("scenes/{region}/items.ndjson")),
        digest=results("scenes/{region}/items.sha256"),
        plan=ancient(results("scenes/{region}/plan.json")),
    output:
        tile=directory(results("regions/{region}/tiles/{tile}")),
    log:
        logs("fetch/{region}/{tile}"),
    benchmark:
        timings("fetch/{region}/{tile}")
    conda:
        CONDA_LIGHT
    params:
        code=package_digest("fetch"),
        tile=lambda wildcards: RUN.regions[wildcards.region].fetched(wildcards.tile),
    script:
        "../scripts/fetch.py"


rule zone_image:
    input:
        tiles=lambda wildcards: expand(
            results("regions/{region}/tiles/{tile}"),
            region=wildcards.region,
            tile=RUN.tiles(f"{wildcards.region}-{wildcards.zone}"),
        ),
    output:
        image=results("regions/{region}/{zone}/{sensor}.vrt"),
    log:
        logs("zone_image/{region}/{zone}/{sensor}"),
    benchmark:
        timings("zone_image/{region}/{zone}/{sensor}")
    conda:
        CONDA_LIGHT
    params:
        code=package_digest("zone_image"),
        zone=lambda wildcards: RUN.placed(f"{wildcards.region}-{wildcards.zone}"),
    script:
        "../scripts/zone_image.py"


rule map_tile:
    input:
        images=by_scene(RUN.scene_images),
        facts=of_scene("scene.json"),
        checkpoint=of_model("checkpoint.pt"),
    output:
        folder=directory(of_map("tiles/{tile}")),
    log:
        logs("map_tile/{scene}/{scenario}/{tile}"),
    benchmark:
        timings("map_tile/{scene}/{scenario}/{tile}")
    wildcard_constraints:
        scene=only(REGION_SCENES),
    conda:
        CONDA_TORCH
    threads: share_of_cores(len(RUN.maps))
    resources:
        gpu=GPU,
    params:
        code=package_digest("map_tile"),
        dataset=RUN.looks,
        scene=by_scene(RUN.scene_settings),
        zone=by_scene(RUN.placed),
        settings=RUN.map_settings,
        label=by_scene(RUN.scene_label),
        # Not an output: Snakemake would delete what a restart goes on from.
        unfinished=results("resume/maps/{scene}/{scenario}/{tile}"),
    script:
        "../scripts/map_tile.py"


rule join_tiles:
    input:
        tiles=each_tile(of_map("tiles/{tile}")),
    output:
        folder=directory(of_map("map")),
    log:
        logs("join_tiles/{scene}/{scenario}"),
    benchmark:
        timings("join_tiles/{scene}/{scenario}")
    wildcard_constraints:
        scene=only(REGION_SCENES),
    conda:
        CONDA_LIGHT
    params:
        code=package_digest("join_tiles"),
        dataset=RUN.looks,
        scenario=by_scenario(RUN.fields),
        zone=by_scene(RUN.placed),
    script:
        "../scripts/join_tiles.py"


rule region:
    input:
        zones=lambda wildcards: [
            of_map("item.json").format(scene=scene, scenario=wildcards.scenario)
            for scene in RUN.regions[wildcards.region].scenes
        ],
        maps=lambda wildcards: [
            of_map("map").format(scene=scene, scenario=wildcards.scenario)
            for scene in RUN.regions[wildcards.region].scenes
        ],
        images=ancient(results("scenes/{region}/items.ndjson")),
        digest=results("scenes/{region}/items.sha256"),
        patches=scores("patches.npz"),
    output:
        collection=results("scenes/{region}/{scenario}/collection.json"),
        areas=results("scenes/{region}/{scenario}/areas.csv"),
    log:
        logs("region/{region}/{scenario}"),
    benchmark:
        timings("region/{region}/{scenario}")
    conda:
        CONDA_LIGHT
    params:
        code=package_digest("region"),
        dataset=RUN.looks,
        scenario=by_scenario(RUN.fields),
        label=RUN.label,
    script:
        "../scripts/region.py"
