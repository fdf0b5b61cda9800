"""What Snakemake, DVC and SLURM need from Python: imported by rules and scripts only."""
