"""Merge the mapped patches to one picture per coordinate system, and their masks and edges to maps of each level."""

from cerraseg.config.dataset import Dataset
from cerraseg.core.files import atomic_write
from cerraseg.core.taxonomy import EDGES
from cerraseg.data import packed as store
from cerraseg.data import tables
from cerraseg.mapping.mosaic import mosaic
from cerraseg.mapping.true_colour import patches_images
from cerraseg.orchestration.step import step

with step(snakemake), atomic_write(snakemake.output.folder) as folder:
    packed = store.open_store(snakemake.input.images, snakemake.input.masks, snakemake.input.header)
    rows = tables.rows_of(snakemake.input.split, snakemake.params.patches, packed.header.ids)
    patches = tables.read_patch_table(snakemake.input.table).iloc[rows]
    tags = {"SOURCE": snakemake.params.label}
    dataset, bands = Dataset.of(snakemake.config["dataset"]), packed.header.bands
    composite = dataset.composite(bands)
    patches_images(patches, packed.images, bands, folder, composite=composite, rows=rows, tags=tags)
    for level in (level for level in dataset.levels.values() if level.name in packed.header.layers):
        (folder / level.name).mkdir(parents=True)
        truth, edges = packed.layer(packed.truth(level.name)), packed.layer(level.edges)
        for name, layer, legend in (("truth", truth, level.classes), ("edges", edges, EDGES)):
            masks = packed.masks[:, layer]
            mosaic(
                patches,
                masks if len(rows) == len(masks) else masks[rows],
                folder / level.name,
                name=name,
                classes=legend,
                tags=tags,
                threads=snakemake.threads,
            )
