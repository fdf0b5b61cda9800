"""Sentinel images of a place and a season: found in a STAC catalogue, frozen as a list, fetched and composed."""
