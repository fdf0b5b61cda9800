"""Write one GeoTIFF a predicted patch, under the published names."""

from cerraseg.config.scenario import Scenario
from cerraseg.data import packed, tables
from cerraseg.mapping.patch_geotiffs import export_geotiffs
from cerraseg.orchestration.step import step

with step(snakemake):
    scenario = Scenario(**snakemake.params.scenario)
    rows = tables.rows_of(snakemake.input.split, snakemake.params.patches)
    files = {"seg": snakemake.input.prediction} | ({"edg": snakemake.input.edges} if scenario.edges else {})
    export_geotiffs(
        tables.read_patch_table(snakemake.input.table).iloc[rows],
        {name: packed.open_array(file, len(rows)) for name, file in files.items()},
        snakemake.output.folder,
        model=scenario.model,
        weighting=scenario.weighting,
    )
