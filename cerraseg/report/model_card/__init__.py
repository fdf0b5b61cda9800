"""Model cards: what a checkpoint is, how it was made, and what its scores are worth."""
