"""The overview page: all of a run in one file."""
