"""Merge a scenario's predicted patches to one map per coordinate system, with confidence and edges beside it."""

import shutil

from cerraseg.config.dataset import Dataset
from cerraseg.core.files import atomic_write
from cerraseg.core.taxonomy import EDGES
from cerraseg.data import packed, tables
from cerraseg.mapping.map_files import write_coarser
from cerraseg.mapping.mosaic import mosaic
from cerraseg.orchestration.step import step

with step(snakemake), atomic_write(snakemake.output.folder) as folder:
    folder.mkdir()
    read, params = snakemake.input, snakemake.params
    patches = tables.read_predicted_patches(read.table, read.ids)
    dataset, level = Dataset.of(snakemake.config["dataset"]), params.scenario["level"]
    legends = {"prediction": dataset.classes(level), "confidence": None, "edges": EDGES}
    tiles = {name: packed.open_array(read[name]) for name in legends}
    if params.context:
        from cerraseg.mapping.context import predict_in_context  # which needs torch

        store = packed.open_store(read.images, read.masks, read.header)
        how = {**params.context, "threads": snakemake.threads, "code": params.code}
        tiles |= predict_in_context(read.checkpoint, store, patches, params.unfinished, **how)
    tags = {"SCENARIO": snakemake.wildcards.scenario, "SOURCE": params.label}
    options = {"tags": tags | {"CONTEXT": str(bool(params.context)).lower()}, "threads": snakemake.threads}
    for name, legend in legends.items():
        maps = mosaic(patches, tiles[name], folder, name=name, classes=legend, **options)
        for path in maps if name == "prediction" and params.hierarchical else ():
            write_coarser(
                path,
                level,
                dataset,
                lambda coarser, path=path: path.with_name(path.name.replace("prediction", coarser, 1)),
                **options,
            )
    shutil.rmtree(params.unfinished, ignore_errors=True)
