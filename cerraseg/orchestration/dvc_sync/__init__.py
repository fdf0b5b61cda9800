"""Two memories of one run: Snakemake's times and metadata, DVC's hashes. Each one's clean state, and nothing else,
entitles to bless the other's."""
