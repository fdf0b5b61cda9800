"""Write the manifest of the user's own rasters and labels."""

import json
from dataclasses import asdict
from pathlib import Path

from cerraseg.core.content import content
from cerraseg.core.files import atomic_write
from cerraseg.orchestration.step import step

with step(snakemake), atomic_write(snakemake.output.manifest) as file:
    params = snakemake.params
    files = [{"path": path, **asdict(content(Path(path)))} for path in snakemake.input.files]
    facts = {"source": params.label, "origin": {}, "areas": params.areas, "tiling": params.tiling, "files": files}
    file.write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", encoding="utf-8")
