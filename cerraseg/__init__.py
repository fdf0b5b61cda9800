"""CerraSeg: land-use and land-cover maps from Sentinel-1/2 patches, reproducibly."""

from cerraseg.core.environment import sanitise

__version__ = "0.1.0"

sanitise()
