"""Write the overview page of the run."""

from collections import Counter
from pathlib import Path

import yaml

from cerraseg import area_tables, logs, overview, software
from cerraseg.layout import SOURCE
from cerraseg.overview_scores import Scored
from cerraseg.overview_views import find_views
from cerraseg.store import read_split

with logs.step(snakemake):
    results, params, read = Path(snakemake.input.benchmark).parent, snakemake.params, snakemake.input
    histories = {Path(file).parent.name: Path(file) for file in read.histories}
    overview.write(
        snakemake.output.page,
        title="CerraSeg",
        source=params.label,
        benchmark=read.benchmark,
        scenarios={id_: Scored(results / "scores" / id_, histories.get(id_)) for id_ in params.levels},
        views=find_views(results, params.levels, params.scenes),
        facts={
            "Data": params.label,
            "Patches": Counter(read_split(read.split)["split"]),
            "Packed data": Path(read.header).read_text(),
            "Manifest": Path(read.manifest).read_text(),
            "Configuration": yaml.safe_dump(params.configuration, sort_keys=False),
            "Versions": [" ".join(pair) for pair in software.versions().items()],
            "Repository": software.commit(SOURCE),
        },
        areas_note=area_tables.ASSUMPTION,
    )
