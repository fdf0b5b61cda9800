"""Merge a scenario's predicted patches to one map per coordinate system, with confidence and edges beside it."""

from cerraseg.core.files import atomic_write
from cerraseg.core.taxonomy import EDGES, LEVELS
from cerraseg.data import packed, tables
from cerraseg.mapping.map_files import write_parents
from cerraseg.mapping.mosaic import mosaic
from cerraseg.orchestration.step import step

with step(snakemake), atomic_write(snakemake.output.folder) as folder:
    folder.mkdir()
    patches = tables.read_predicted_patches(snakemake.input.table, snakemake.input.ids)
    tags = {"SCENARIO": snakemake.wildcards.scenario, "SOURCE": snakemake.params.label}
    legends = {"prediction": LEVELS[snakemake.params.scenario["level"]], "confidence": None, "edges": EDGES}
    for name, legend in legends.items():
        tiles = packed.open_array(snakemake.input[name])
        maps = mosaic(patches, tiles, folder, name=name, classes=legend, tags=tags, threads=snakemake.threads)
        for path in maps if name == "prediction" and snakemake.params.hierarchical else ():
            write_parents(path, path.with_name(path.name.replace(name, "l1", 1)), tags, snakemake.threads)
