"""Merge a scenario's predicted patches to one map per coordinate system, with confidence and edges beside it."""

from cerraseg import logs, store
from cerraseg.files import replacing
from cerraseg.mosaic import mosaic
from cerraseg.parent_maps import write_parents
from cerraseg.taxonomy import EDGES, LEVELS

with logs.step(snakemake), replacing(snakemake.output.folder) as folder:
    folder.mkdir()
    rows = store.rows_of(snakemake.input.split, snakemake.params.patches)
    patches = store.read_patches(snakemake.input.table).iloc[rows]
    tags = {"SCENARIO": snakemake.wildcards.scenario, "SOURCE": snakemake.params.label}
    legends = {"prediction": LEVELS[snakemake.params.scenario["level"]], "confidence": None, "edges": EDGES}
    for name, legend in legends.items():
        tiles = store.open_array(snakemake.input[name])
        maps = mosaic(patches, tiles, folder, name=name, classes=legend, tags=tags, threads=snakemake.threads)
        for path in maps if name == "prediction" and snakemake.params.hierarchical else ():
            write_parents(path, path.with_name(path.name.replace(name, "l1", 1)), tags, snakemake.threads)
