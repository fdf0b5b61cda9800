"""Write one GeoTIFF a predicted patch, under the published names."""

from cerraseg.config.dataset import Dataset
from cerraseg.config.scenario import Scenario
from cerraseg.data import packed, tables
from cerraseg.mapping.patch_geotiffs import export_geotiffs
from cerraseg.orchestration.step import step

with step(snakemake):
    scenario = Scenario(**snakemake.params.scenario)
    patches = tables.read_predicted_patches(snakemake.input.table, snakemake.input.ids)
    files = {"seg": snakemake.input.prediction} | ({"edg": snakemake.input.edges} if scenario.edges else {})
    export_geotiffs(
        patches,
        {name: packed.open_array(file, len(patches)) for name, file in files.items()},
        snakemake.output.folder,
        classes=Dataset.of(snakemake.config["dataset"]).classes(scenario.level),
        model=scenario.model,
        weighting=scenario.weighting,
    )
