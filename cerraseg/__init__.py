"""CerraSeg: land-use and land-cover maps from Sentinel-1/2 patches, reproducibly."""

from cerraseg.core.environment import sanitise
from cerraseg.core.versions import __version__ as __version__

sanitise()
