"""What made a result, from what."""
