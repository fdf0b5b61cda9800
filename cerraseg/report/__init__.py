"""Figures, tables, model cards and the overview page. Only scripts import it."""
