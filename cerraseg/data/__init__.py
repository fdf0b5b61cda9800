"""From a source of patches to packed arrays and statistics. No torch."""
