"""Write one GeoTIFF a predicted patch, under the published names."""

from cerraseg import logs, store
from cerraseg.export import export_geotiffs
from cerraseg.scenario import Scenario

with logs.step(snakemake):
    scenario = Scenario(**snakemake.params.scenario)
    rows = store.rows_of(snakemake.input.split, snakemake.params.patches)
    files = {"seg": snakemake.input.prediction} | ({"edg": snakemake.input.edges} if scenario.edges else {})
    export_geotiffs(
        store.read_patches(snakemake.input.table).iloc[rows],
        {name: store.open_array(file, len(rows)) for name, file in files.items()},
        snakemake.output.folder,
        model=scenario.model,
        weighting=scenario.weighting,
    )
