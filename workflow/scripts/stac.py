"""Write the STAC item of a mapped scene."""

from pathlib import Path

from cerraseg.core.taxonomy import LEVELS
from cerraseg.mapping.stac import write_item
from cerraseg.orchestration.step import step

RASTERS = ("classes", "classes_l1", "confidence", "probabilities", "margin", "entropy")
BY_SUFFIX = {".tif": "sieved", ".gpkg": "polygons"}

with step(snakemake):
    folder = Path(snakemake.input.map)
    files = {name: folder / f"{name}.tif" for name in RASTERS}
    files |= {name: Path(snakemake.input[name]) for name in ("areas", "figure")}
    files |= {BY_SUFFIX[Path(file).suffix]: Path(file) for file in snakemake.input.polygons}
    scene, scenario = snakemake.wildcards.scene, snakemake.wildcards.scenario
    level = snakemake.params.scenario["level"]
    write_item(
        Path(snakemake.output.item),
        id=f"{scene}-{scenario}",
        date=snakemake.params.date,
        files=files,
        # Without them, the time of the map: it is younger than its images.
        sources=[Path(file) for file in snakemake.input.sources] or [files["classes"]],
        classes=LEVELS[level],
        properties={
            "title": f"Land cover of {scene}",
            "description": f"Source: {snakemake.params.label}",
            "cerraseg:scenario": scenario,
            "cerraseg:level": level,
        },
    )
