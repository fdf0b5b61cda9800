"""Which patch is for training, validation or test."""
