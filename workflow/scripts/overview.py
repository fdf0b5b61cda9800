"""Write the overview page of the run."""

from pathlib import Path

import yaml

from cerraseg.config.dataset import Dataset
from cerraseg.core import versions
from cerraseg.core.layout import SOURCE
from cerraseg.data.splits.file_lists import published_test_part
from cerraseg.data.tables import read_split
from cerraseg.evaluation import area_estimates, benchmark
from cerraseg.orchestration.step import step
from cerraseg.report.overview.maps import find_views
from cerraseg.report.overview.page import write_overview
from cerraseg.report.overview.scores import Scored

with step(snakemake):
    results, params, read = Path(snakemake.input.benchmark).parent, snakemake.params, snakemake.input
    write_overview(
        snakemake.output.page,
        title="CerraSeg",
        source=params.label,
        dataset=Dataset.of(snakemake.config["dataset"]),
        benchmark=read.benchmark,
        scenarios={id_: Scored.of(results, id_, read.histories) for id_ in params.levels},
        views=find_views(results, params.levels, params.scenes),
        facts={
            "Data": params.label,
            "Patches": read_split(read.split)["split"].value_counts(sort=False).to_dict(),
            **({"Test part": published_test_part(read.parts)[1]} if params.label == benchmark.PAPER_DATA else {}),
            "Packed data": Path(read.header).read_text(),
            "Manifest": Path(read.manifest).read_text(),
            "Configuration": yaml.safe_dump(params.configuration, sort_keys=False),
            "Versions": [" ".join(pair) for pair in versions.versions().items()],
            "Repository": versions.commit(SOURCE),
        },
        areas_note=area_estimates.ASSUMPTION,
    )
