"""What Kaggle's servers are asked, and what is taken from them: within a time, within a size, never out of https.

kagglehub's own client waits for ever, follows any redirect and has no bound on what a server sends.
"""

import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from tqdm import tqdm

from cerraseg.core.errors import DownloadError

if TYPE_CHECKING:
    from kagglehub.handle import DatasetHandle

_CHUNK = 1 << 20
_TIMEOUT = (15, 60)
"""Seconds for a connection, and between two bytes."""


class _Patient(HTTPAdapter):
    """Gives every request a time limit: kagglehub's own client sets none."""

    def send(self, request: requests.PreparedRequest, **settings: Any) -> requests.Response:  # type: ignore[override]
        return super().send(request, **settings | {"timeout": _TIMEOUT})


@contextmanager
def client() -> Iterator[Any]:
    """A client of Kaggle's that does not wait for ever."""
    from kagglehub.http_resolver import build_kaggle_client

    with build_kaggle_client() as opened:
        session = opened.http_client()._session
        for scheme in ("https://", "http://"):
            session.mount(scheme, _Patient())
        yield opened


@contextmanager
def asked(handle: "DatasetHandle") -> Iterator[requests.Response]:
    """Kaggle's answer to the request for the archive, nothing of its content read yet."""
    from kagglehub.http_resolver import ApiDownloadDatasetRequest

    request = ApiDownloadDatasetRequest()
    request.owner_slug, request.dataset_slug = handle.owner, handle.dataset
    request.dataset_version_number = handle.version
    with client() as opened, opened.datasets.dataset_api_client.download_dataset(request) as response:
        _check_way(response)
        yield response


def _check_way(response: requests.Response) -> None:
    """Raise unless every address on the way here was as safe as the first."""
    ways = [step.url for step in (*response.history, response)]
    if ways[0].startswith("https:") and not all(url.startswith("https:") for url in ways):
        response.close()
        raise requests.exceptions.InvalidURL(
            "Kaggle's answer leads from https to an address that is not: that is not followed"
        )


def announced(response: requests.Response) -> int | None:
    """The length of what comes, in bytes, where the server says one that can be held to."""
    length = response.headers.get("Content-Length", "") if "Content-Encoding" not in response.headers else ""
    return int(length) if length.isdigit() else None


@contextmanager
def rest_of(response: requests.Response, have: int, size: int | None) -> Iterator[tuple[requests.Response, int]]:
    """What is missing behind the bytes that are here, or the whole from 0 where the server does not go on."""
    if not have or size is None or response.headers.get("Accept-Ranges") != "bytes":
        yield response, 0
        return
    wanted = {"Range": f"bytes={have}-"}
    with requests.get(response.url, headers=wanted, stream=True, timeout=_TIMEOUT) as rest:  # of the storage, signed
        _check_way(rest)
        rest.raise_for_status()
        if rest.status_code == 206 and rest.headers.get("Content-Range") != f"bytes {have}-{size - 1}/{size}":
            raise requests.ConnectionError("the server sent another part than was asked for")
        yield rest, have if rest.status_code == 206 else 0


def receive(response: requests.Response, archive: Path, start: int, most: int) -> None:
    """Append what comes to the first ``start`` bytes of ``archive``.

    Raises :class:`DownloadError` above ``most`` bytes in all, which removes the archive.
    """
    total = None if (coming := announced(response)) is None else start + coming
    bar = tqdm(desc="download", total=total, initial=start, unit="B", unit_scale=True, disable=None, leave=False)
    with archive.open("ab" if start else "wb") as file, bar:
        for chunk in response.iter_content(_CHUNK):
            if file.tell() + len(chunk) > most:
                archive.unlink()
                raise DownloadError(
                    f"The server sent more than the {most:,} bytes that were announced or expected; what came was "
                    "removed. Run it again; if it happens again, the fault is at Kaggle or in a proxy on the way."
                )
            file.write(chunk)
            bar.update(len(chunk))


def md5(file: Path) -> str:
    """MD5 in base 64, as Google's storage announces it: against damage, not against an attacker."""
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False))
    return base64.b64encode(digest.digest()).decode()
