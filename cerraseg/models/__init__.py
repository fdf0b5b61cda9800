"""Build, load and import networks; logits to classes."""
