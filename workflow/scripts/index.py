"""Check every patch and write the patch table."""

import json
from pathlib import Path

from cerraseg.core import logs
from cerraseg.data import index

if __name__ == "__main__":
    with logs.step(snakemake):
        roots = [root["path"] for root in json.loads(Path(snakemake.input.manifest).read_text())["roots"]]
        index.index(
            roots,
            snakemake.output.table,
            snakemake.log.rejected,
            threads=snakemake.threads,
            **snakemake.params.settings,
        )
