"""Map a tile of a region's zone with a scenario's best checkpoint, as it would be mapped with the whole zone."""

from pathlib import Path

from cerraseg.config.dataset import Dataset
from cerraseg.geo.zones import zone_at
from cerraseg.mapping.cut import Cut
from cerraseg.mapping.map_scene import Settings, map_scene
from cerraseg.mapping.scene import SceneFiles
from cerraseg.mapping.scene_check import read_scaled
from cerraseg.orchestration.step import step

with step(snakemake):
    dataset, zone = Dataset.of(snakemake.config["dataset"]), zone_at(**snakemake.params.zone)
    names = {name: snakemake.wildcards[name] for name in ("scene", "scenario")}
    map_scene(
        Path(snakemake.input.checkpoint),
        SceneFiles.of(snakemake.params.scene, dataset),
        Path(snakemake.output.folder),
        Path(snakemake.params.unfinished),
        Settings(**snakemake.params.settings, threads=snakemake.threads),
        dataset,
        tags={name.upper(): value for name, value in names.items()} | {"SOURCE": snakemake.params.label},
        code=snakemake.params.code,
        scaled=read_scaled(Path(snakemake.input.facts)),
        cut=Cut(zone.tiles[snakemake.wildcards.tile.partition("_")[2]], zone.outside),
    )
