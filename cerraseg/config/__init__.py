"""What a run is asked to do, checked before it starts. No torch."""
