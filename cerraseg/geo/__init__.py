"""Georeferenced rasters and positions, without knowledge of the pipeline."""
