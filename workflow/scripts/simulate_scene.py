"""Write a simulated scene to map, and its truth."""

from pathlib import Path

from cerraseg.core import logs
from cerraseg.data.simulation.scene import simulate_scene

with logs.step(snakemake):
    simulate_scene(Path(snakemake.output.msi).parent, **snakemake.params.settings)
