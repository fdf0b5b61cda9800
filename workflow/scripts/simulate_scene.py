"""Write a simulated scene to map, and its truth."""

from pathlib import Path

from cerraseg.data.simulation.files import simulate_scene
from cerraseg.orchestration.step import step

with step(snakemake):
    simulate_scene(Path(snakemake.output.msi).parent, **snakemake.params.settings)
