"""Scenes of the configuration and paths of their maps: what the rules share."""

import sys

from cerraseg.orchestration import timestamps

SCENES = {scene["name"]: scene for scene in config["scenes"]}
SIMULATED = simulated_scene(config) if config["source"] == "simulate" else {}
MAPPED = [(name, id_) for name, scene in SCENES.items() for id_ in scene["scenarios"]]
MAP_THREADS = 4 if GPU else min(4, max(1, CORES // max(1, len(MAPPED))))
MAP_SETTINGS = {
    key: value
    for key, value in {**config["predict"], **config["maps"]}.items()
    if key not in ("patches", "geotiffs", "check_scale", "minimum_hectares")
}


wildcard_constraints:
    scene="|".join(SCENES) or "(?!)",


def of_scene(name):
    """Path of a scene's file, with the wildcard open."""
    return f"{R}/scenes/{{scene}}/{name}"


def of_map(name):
    """Path of a file of a scene's map by a scenario, with both wildcards open."""
    return of_scene(f"{{scenario}}/{name}")


def each_map(path):
    """A path with both wildcards filled in for every map."""
    return [path.format(scene=scene, scenario=scenario) for scene, scenario in MAPPED]


def rasters(*names):
    """Input function: these files of the scene, where it has them; as after ``dvc pull`` they may be elsewhere."""
    return lambda wildcards: {
        name: path
        for name in names
        if (path := SCENES[wildcards.scene].get(name))
        and (path in SIMULATED.values() or Path(path).is_file())
    }


def scene_settings(wildcards):
    """What the configuration says of the scene's pixels, as a plain dictionary."""
    keys = ("name", "msi", "sar", "msi_bands", "sar_bands", "reference_level")
    scene = SCENES[wildcards.scene]
    return {key: scene[key] for key in keys if key in scene}


def scene_modality(wildcards):
    """The modality that has the bands of all scenarios that map the scene."""
    ids = SCENES[wildcards.scene]["scenarios"]
    found = {SCENARIOS[id_].modality for id_ in ids}
    return found.pop() if len(found) == 1 else "concat"


def scene_label(wildcards):
    """What figures call the scene's data."""
    scene = SCENES[wildcards.scene]
    simulated = scene.get("msi", scene.get("sar")) in SIMULATED.values()
    return LABEL if simulated else f"scene {scene['name']}, models trained on {LABEL}"


POLYGONS = (
    [of_map("sieved.tif"), of_map("polygons.gpkg")]
    if config["maps"]["minimum_hectares"]
    else []
)
SCENE_MAPS = [
    path
    for name in (
        of_map("map"),
        scores_of_scenario("areas_{scene}.csv"),
        of_map("item.json"),
        *POLYGONS,
    )
    for path in each_map(name)
]


def check_dates():
    """See to it that no file of the run is dated later than now: Snakemake goes by dates."""
    given = [
        path
        for scene in SCENES.values()
        for name in ("msi", "sar", "reference")
        if (path := scene.get(name)) and path not in SIMULATED.values()
    ]
    try:
        timestamps.ensure_past([*given, *config["checkpoints"].values()])
    except ConfigError as error:
        raise WorkflowError(str(error))
    if not accompanied:
        if count := timestamps.bring_back([R, *SIMULATED.values()]):
            print(
                f"{count} files were dated later than now, as after a clock was moved back: they got the present time, "
                "in their order",
                file=sys.stderr,
            )


if workflow.is_main_process:
    check_dates()
