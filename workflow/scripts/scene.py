"""Check a scene, write what it is, and bring what is known of its ground onto its grid."""

from pathlib import Path

from cerraseg.config.dataset import Dataset
from cerraseg.core.files import atomic_write
from cerraseg.data import statistics
from cerraseg.mapping import scene_check
from cerraseg.mapping.scene import SceneFiles
from cerraseg.orchestration.step import step

with step(snakemake), atomic_write(snakemake.output.truth) as folder:
    folder.mkdir()
    scene, dataset = snakemake.params.scene, Dataset.of(snakemake.config["dataset"])
    files, tags = SceneFiles.of(scene, dataset), {"SCENE": scene["name"], "SOURCE": snakemake.params.label}
    grid = scene_check.survey(
        files,
        [dataset.sensors[name] for name in snakemake.params.sensors],
        statistics.read_bands(snakemake.input.statistics),
        Path(snakemake.output.facts),
        resampling=snakemake.params.resampling,
        scale=snakemake.params.check_scale,
    )
    scene_check.write_picture(files, dataset, folder / "image.tif", tags=tags)
    for reference in snakemake.input.reference:
        scene_check.write_reference(
            scene["name"],
            Path(reference),
            scene["reference_level"],
            dataset,
            grid,
            folder,
            tags=tags,
            threads=snakemake.threads,
        )
