"""Write one GeoTIFF a predicted patch, under the published names."""

from cerraseg.config.dataset import Dataset
from cerraseg.config.scenario import Scenario
from cerraseg.data import packed, tables
from cerraseg.mapping.patch_geotiffs import export_geotiffs, file_stem
from cerraseg.orchestration.step import step

with step(snakemake):
    scenario, dataset = Scenario(**snakemake.params.scenario), Dataset.of(snakemake.config["dataset"])
    patches = tables.read_predicted_patches(snakemake.input.table, snakemake.input.ids)
    files = {"seg": snakemake.input.prediction} | ({"edg": snakemake.input.edges} if scenario.edges else {})
    export_geotiffs(
        patches,
        {name: packed.open_array(file, len(patches)) for name, file in files.items()},
        snakemake.output.folder,
        classes=dataset.classes(scenario.level),
        stem=file_stem(dataset, scenario),
    )
