"""Map a scene with a scenario's best checkpoint."""

from pathlib import Path

from cerraseg.config.dataset import Dataset
from cerraseg.mapping.map_scene import Settings, map_scene
from cerraseg.mapping.scene import SceneFiles
from cerraseg.orchestration.step import step

with step(snakemake):
    dataset = Dataset.of(snakemake.config["dataset"])
    map_scene(
        Path(snakemake.input.checkpoint),
        SceneFiles.of(snakemake.params.scene, dataset),
        Path(snakemake.output.folder),
        Path(snakemake.params.unfinished),
        Settings(**snakemake.params.settings, threads=snakemake.threads),
        dataset,
        tags={name.upper(): value for name, value in snakemake.wildcards.items()} | {"SOURCE": snakemake.params.label},
        code=snakemake.params.code,
    )
