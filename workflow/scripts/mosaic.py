"""Merge a scenario's predicted patches to one map per coordinate system, with confidence and edges beside it."""

from cerraseg.core import logs
from cerraseg.core.files import replacing
from cerraseg.core.taxonomy import EDGES, LEVELS
from cerraseg.data import packed
from cerraseg.mapping.mosaic import mosaic
from cerraseg.mapping.parent_maps import write_parents

with logs.step(snakemake), replacing(snakemake.output.folder) as folder:
    folder.mkdir()
    rows = packed.rows_of(snakemake.input.split, snakemake.params.patches)
    patches = packed.read_patches(snakemake.input.table).iloc[rows]
    tags = {"SCENARIO": snakemake.wildcards.scenario, "SOURCE": snakemake.params.label}
    legends = {"prediction": LEVELS[snakemake.params.scenario["level"]], "confidence": None, "edges": EDGES}
    for name, legend in legends.items():
        tiles = packed.open_array(snakemake.input[name])
        maps = mosaic(patches, tiles, folder, name=name, classes=legend, tags=tags, threads=snakemake.threads)
        for path in maps if name == "prediction" and snakemake.params.hierarchical else ():
            write_parents(path, path.with_name(path.name.replace(name, "l1", 1)), tags, snakemake.threads)
