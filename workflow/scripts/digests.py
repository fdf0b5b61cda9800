"""Write the digest of the code and settings of every job, by which DVC sees what changed."""

import json
from pathlib import Path

from cerraseg.core.files import atomic_write
from cerraseg.orchestration.step import step

with step(snakemake), atomic_write(Path(snakemake.output.digests)) as temporary:
    temporary.write_text(json.dumps(snakemake.params.digests, indent=2) + "\n")
