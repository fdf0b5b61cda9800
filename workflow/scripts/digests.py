"""Write the digest of the code and settings of every job, by which DVC sees what changed."""

import json
from pathlib import Path

from cerraseg.core import logs
from cerraseg.core.files import replacing

with logs.step(snakemake), replacing(Path(snakemake.output.digests)) as temporary:
    temporary.write_text(json.dumps(snakemake.params.digests, indent=2) + "\n")
