"""Scores from counts, intervals, areas, benchmark numbers. No torch."""
