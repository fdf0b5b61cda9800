"""Check a scene, write what it is, and bring what is known of its ground onto its grid."""

from pathlib import Path

from cerraseg import logs, statistics, survey
from cerraseg.files import replacing
from cerraseg.scene import SceneFiles

with logs.step(snakemake), replacing(snakemake.output.truth) as folder:
    folder.mkdir()
    scene = snakemake.params.scene
    files, tags = SceneFiles.of(scene), {"SCENE": scene["name"], "SOURCE": snakemake.params.label}
    grid = survey.survey(
        files,
        snakemake.params.modality,
        statistics.read_bands(snakemake.input.statistics),
        Path(snakemake.output.facts),
        resampling=snakemake.params.resampling,
        scale=snakemake.params.check_scale,
    )
    survey.write_picture(files, folder / "image.tif", tags=tags)
    if reference := snakemake.input.get("reference"):
        survey.write_reference(
            scene["name"],
            Path(reference),
            scene["reference_level"],
            grid,
            folder,
            tags=tags,
            threads=snakemake.threads,
        )
