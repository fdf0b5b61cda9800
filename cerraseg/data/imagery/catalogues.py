"""STAC catalogues and their files: names of bands, signed addresses, and requests that are repeated."""

import os
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from cerraseg.core.errors import ConfigError, DownloadError

TRIES = 5
"""How often a file is asked for before the run stops."""

_BUSY = (408, 425, 429, 500, 502, 503, 504)
_SECONDS = 60  # that an answer may take
_SIGNED = ".blob.core.windows.net"  # Planetary Computer's files, whose addresses need a token
_NAMES = {  # standard name of a band → its asset in Earth Search's catalogue
    "B01": "coastal", "B02": "blue", "B03": "green", "B04": "red", "B05": "rededge1", "B06": "rededge2",
    "B07": "rededge3", "B08": "nir", "B8A": "nir08", "B09": "nir09", "B11": "swir16", "B12": "swir22",
}  # fmt: skip
_SIDES = ("", "_10m", "_20m", "_60m")  # endings in the Copernicus catalogue


def pause() -> float:
    """Return how many seconds to wait before the second try; each further one waits twice as long as the last."""
    return float(os.environ.get("GDAL_HTTP_RETRY_DELAY", "2"))


def gdal_options() -> dict[str, Any]:
    """Return the options under which GDAL reads remote files; all, as odc-stac has none of its own beside others."""
    return {
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
        "GDAL_INGESTED_BYTES_AT_OPEN": 32_768,  # the header of a COG in one request
        "GDAL_HTTP_MAX_RETRY": TRIES - 1,
        "GDAL_HTTP_RETRY_DELAY": pause(),
        "GDAL_HTTP_TIMEOUT": _SECONDS,
        "GDAL_HTTP_MULTIRANGE": "YES",
        "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
        # GDAL remembers failures by address: a file that is closed is forgotten, so that a further try asks anew.
        "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/:/vsis3/",
    }


def _retry() -> Retry:
    return Retry(TRIES - 1, backoff_factor=pause() / 2, status_forcelist=_BUSY, allowed_methods=None)


@cache
def _session() -> requests.Session:
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=_retry()))
    return session


def open_catalogue(url: str) -> Any:
    """Return a ``pystac_client.Client`` of a catalogue that repeats what fails.

    Raises:
        DownloadError: if it cannot be reached.
    """
    from pystac_client import Client
    from pystac_client.exceptions import APIError
    from pystac_client.stac_api_io import StacApiIO

    try:
        return Client.open(url, stac_io=StacApiIO(max_retries=_retry(), timeout=_SECONDS))
    except (APIError, requests.RequestException) as error:
        raise DownloadError(f"{url} cannot be reached ({error}); check the address, the network and proxies") from None


def signed(href: str) -> str:
    """Return the address of a file as its store takes it: with a token for Planetary Computer's."""
    if not (urlsplit(href).hostname or "").endswith(_SIGNED):
        return href
    import planetary_computer

    return str(planetary_computer.sign_url(href))


def state(href: str) -> tuple[str | None, int | None]:
    """Return the ETag and the bytes of a file of a web server; of another store neither is asked.

    Raises:
        DownloadError: if it is not there.
    """
    if urlsplit(href).scheme not in ("http", "https"):
        return None, None
    try:
        answer = _session().head(signed(href), timeout=_SECONDS, allow_redirects=True)
        answer.raise_for_status()
    except requests.RequestException as error:
        raise DownloadError(f"{href} cannot be read ({error})") from None
    size = answer.headers.get("Content-Length")
    return answer.headers.get("ETag"), int(size) if size else None


def asset_of(item: Mapping[str, Any], band: str, named: Mapping[str, str]) -> str:
    """Return the key of the asset of an item that holds a band.

    Args:
        item: a STAC item.
        band: name of the band in the dataset, such as ``B02`` or ``VV``, or ``SCL``.
        named: band → asset, where the configuration names it; else the catalogue's usual names are tried.

    Raises:
        ConfigError: if the item has none.
    """
    bases = [named[band]] if band in named else [band, band.upper(), band.lower(), _NAMES.get(band.upper(), band)]
    keys = [base + side for base in bases for side in _SIDES]
    for key in keys:
        if key in item["assets"]:
            return key
    raise ConfigError(
        f"{item['id']} of {item.get('collection')} has no asset for {band}, but {', '.join(item['assets'])}; expected "
        f"one of {', '.join(bases)}: name it under assets of the sensor"
    )
