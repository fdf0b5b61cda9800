"""From a checkpoint to predictions, mosaics, scenes, polygons and STAC items."""
