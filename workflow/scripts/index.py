"""Check every patch and write the patch table."""

import json
from pathlib import Path

from cerraseg.data import index
from cerraseg.orchestration.step import step

if __name__ == "__main__":
    with step(snakemake):
        roots = [root["path"] for root in json.loads(Path(snakemake.input.manifest).read_text())["roots"]]
        index.write_patch_table(
            roots,
            snakemake.output.table,
            snakemake.log.rejected,
            threads=snakemake.threads,
            **snakemake.params.settings,
        )
