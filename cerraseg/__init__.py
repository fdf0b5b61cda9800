"""CerraSeg: land-use and land-cover maps from Sentinel-1/2 patches, reproducibly."""

from cerraseg.surroundings import leave

__version__ = "0.1.0"

leave()
