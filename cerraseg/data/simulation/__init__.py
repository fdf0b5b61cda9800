"""A simulated landscape in the layout of the dataset, for demos and tests."""
