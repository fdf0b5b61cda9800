"""Write a simulated scene to map, and its truth."""

from pathlib import Path

from cerraseg import logs
from cerraseg.simulated_scene import simulate_scene

with logs.step(snakemake):
    simulate_scene(Path(snakemake.output.msi).parent, **snakemake.params.settings)
