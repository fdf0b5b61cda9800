"""Write one GeoTIFF a predicted patch, under the published names."""

from cerraseg.config.scenario import Scenario
from cerraseg.core import logs
from cerraseg.data import packed
from cerraseg.mapping.patch_geotiffs import export_geotiffs

with logs.step(snakemake):
    scenario = Scenario(**snakemake.params.scenario)
    rows = packed.rows_of(snakemake.input.split, snakemake.params.patches)
    files = {"seg": snakemake.input.prediction} | ({"edg": snakemake.input.edges} if scenario.edges else {})
    export_geotiffs(
        packed.read_patches(snakemake.input.table).iloc[rows],
        {name: packed.open_array(file, len(rows)) for name, file in files.items()},
        snakemake.output.folder,
        model=scenario.model,
        weighting=scenario.weighting,
    )
