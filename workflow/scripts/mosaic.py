"""Merge a scenario's predicted patches to one map per coordinate system, with confidence and edges beside it."""

from cerraseg.config.dataset import Dataset
from cerraseg.core.files import atomic_write
from cerraseg.core.taxonomy import EDGES
from cerraseg.data import packed, tables
from cerraseg.mapping.map_files import write_coarser
from cerraseg.mapping.mosaic import mosaic
from cerraseg.orchestration.step import step

with step(snakemake), atomic_write(snakemake.output.folder) as folder:
    folder.mkdir()
    patches = tables.read_predicted_patches(snakemake.input.table, snakemake.input.ids)
    tags = {"SCENARIO": snakemake.wildcards.scenario, "SOURCE": snakemake.params.label}
    dataset, level = Dataset.of(snakemake.config["dataset"]), snakemake.params.scenario["level"]
    legends = {"prediction": dataset.classes(level), "confidence": None, "edges": EDGES}
    for name, legend in legends.items():
        tiles = packed.open_array(snakemake.input[name])
        maps = mosaic(patches, tiles, folder, name=name, classes=legend, tags=tags, threads=snakemake.threads)
        for path in maps if name == "prediction" and snakemake.params.hierarchical else ():
            write_coarser(
                path,
                level,
                dataset,
                lambda coarser, path=path: path.with_name(path.name.replace("prediction", coarser, 1)),
                tags=tags,
                threads=snakemake.threads,
            )
