"""Get any dataset from Kaggle: resumable, checked for space and damage, with errors that say what to do.

``kagglehub`` knows the credentials, asks Kaggle, and keeps the books of its cache, which is put in the project's data
folder. The transfer and the unpacking are our own, held to what a stranger's server and archive may do.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from cerraseg.data import kaggle_client
from cerraseg.data.archive import ArchiveError, unpack
from cerraseg.core.errors import DownloadError
from cerraseg.core.logs import log

if TYPE_CHECKING:
    from kagglehub.handle import DatasetHandle

CREDENTIALS = (
    "To get credentials: sign in to Kaggle, Settings -> API -> create a token. Then either set KAGGLE_API_TOKEN, or "
    "KAGGLE_USERNAME and KAGGLE_KEY, or save the file as ~/.kaggle/kaggle.json."
)
_ANSWERS = {
    401: f"Kaggle does not accept the credentials, or asks for some (401). {CREDENTIALS}",
    403: "Kaggle refuses access (403): the dataset is private, or its page asks for consent first, or the credentials "
    f"are not valid. {CREDENTIALS}",
    404: "Kaggle knows no such dataset or version (404). Expected a `dataset` such as cerranet/cerradata-4mm and a "
    "`version` that is listed on its page: check both in the configuration.",
    429: "Kaggle has had too many requests from here (429): wait some minutes and run it again.",
}


def fetch(dataset: str, version: int | None, folder: Path, *, unpacked: int, otherwise: str) -> Path:
    """Download ``dataset`` (``owner/name``) into ``folder`` and unpack it; return the folder of its contents.

    ``version`` counts from 1; None takes the current one, which asks Kaggle every time. A finished download is found
    again without the network; an interrupted one goes on from the bytes that ``folder`` holds; an unfinished extraction
    is redone. Credentials are used where kagglehub finds them and are not needed for public data. Not thread-safe:
    kagglehub takes its cache folder from the environment, which is set for the duration of the call.

    ``unpacked`` is about what the contents take, in bytes, for the check of the disk space; ``otherwise`` says in a
    sentence how the user gets by without Kaggle and ends the errors' messages.

    Raises :class:`DownloadError` without a network, access or disk space, when the transfer stops (what arrived is
    kept), or when the archive is damaged (it is removed).
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _cache_in(folder):
        from kagglehub.cache import Cache  # imported late: it takes 0.6 s, and this step alone needs it

        handle = _handle(dataset, version, otherwise)
        cache = Cache()
        found = cache.load_from_cache(handle)
        if found is None:
            archive = Path(cache.get_archive_path(handle))
            if cache.delete_from_cache(handle):
                log.info("removed an unfinished extraction of %s", handle)
            size = _archive_bytes(handle, archive, otherwise) or unpacked
            _check_space(folder, archive, size, unpacked, otherwise)
            _transfer(handle, archive, size, otherwise)
            found = cache.get_path(handle)
            _unpack(handle, archive, Path(found), max(2 * unpacked, 10 * size), otherwise)
            cache.mark_as_complete(handle)
    return Path(found)


@contextmanager
def _cache_in(folder: Path) -> Iterator[None]:
    """Let kagglehub work in ``folder`` alone, also in a Kaggle or Colab notebook with its mounted copies."""
    wanted = {"KAGGLEHUB_CACHE": str(folder), "DISABLE_KAGGLE_CACHE": "true", "DISABLE_COLAB_CACHE": "true"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _handle(dataset: str, version: int | None, otherwise: str) -> "DatasetHandle":
    """Return kagglehub's handle with a version: the one asked for, else the one that Kaggle calls current."""
    from kagglehub.handle import DatasetHandle
    from kagglehub.http_resolver import ApiGetDatasetRequest

    owner, _, name = dataset.partition("/")
    # kagglehub takes a version below 1 for "no version" and would fetch the current one.
    if not owner or not name or "/" in name or ".." in (owner, name) or (version is not None and version < 1):
        raise DownloadError(
            f"{dataset!r}, version {version}, is not a Kaggle dataset: expected owner/name, such as "
            "cerranet/cerradata-4mm, and a version of 1 or more. Check `dataset` and `version` in the configuration."
        )
    if version is None:
        request = ApiGetDatasetRequest()
        request.owner_slug, request.dataset_slug = owner, name
        with _in_user_words(dataset, otherwise), kaggle_client.client() as client:
            version = client.datasets.dataset_api_client.get_dataset(request).current_version_number
        log.info("version %s of %s is current; set `version` in the configuration to stay with it", version, dataset)
    return DatasetHandle(owner, name, version)


def _archive_bytes(handle: "DatasetHandle", archive: Path, otherwise: str) -> int | None:
    """Ask for the archive and return its announced size in bytes, without reading it; None if none is announced."""
    with _in_user_words(str(handle), otherwise, archive), kaggle_client.asked(handle) as response:
        size = kaggle_client.announced(response)
    if size is not None and _size(archive) > size:
        archive.unlink()
    return size


def _check_space(folder: Path, archive: Path, size: int, unpacked: int, otherwise: str) -> None:
    """Raise unless ``folder`` has room for the rest of an archive of ``size`` bytes and, beside it, its contents.

    How much comes out of an archive is not announced: three times its size is taken, at most ``unpacked``.
    """
    contents = max(size, min(3 * size, unpacked))
    need, free = size - _size(archive) + contents, shutil.disk_usage(folder).free
    if need > free:
        raise DownloadError(
            f"The download needs about {need / 1e9:.1f} GB in {folder} (what is missing of an archive of "
            f"{size / 1e9:.1f} GB, and its contents), but only {free / 1e9:.1f} GB are free. Free some space, or put "
            f"the data folder on a larger disk. {otherwise}"
        )
    log.info("archive of %.2f GB, %.2f GB of it here already", size / 1e9, _size(archive) / 1e9)


def _transfer(handle: "DatasetHandle", archive: Path, most: int, otherwise: str) -> None:
    """Bring the archive to its whole, at most ``most`` bytes; a wrong one is removed."""
    from kagglehub.integrity import get_md5_checksum_from_response

    archive.parent.mkdir(parents=True, exist_ok=True)
    with _in_user_words(str(handle), otherwise, archive), kaggle_client.asked(handle) as response:
        size, wanted = kaggle_client.announced(response), get_md5_checksum_from_response(response)
        if size is None or _size(archive) < size:
            with kaggle_client.rest_of(response, _size(archive), size) as (rest, start):
                kaggle_client.receive(rest, archive, start, most)
    if wanted and kaggle_client.md5(archive) != wanted:
        archive.unlink()
        raise DownloadError(_damaged(handle, "its MD5 is not the announced one.", otherwise))


def _unpack(handle: "DatasetHandle", archive: Path, folder: Path, most: int, otherwise: str) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        unpack(archive, folder, most=most)
    except ArchiveError as error:
        raise DownloadError(_damaged(handle, str(error), otherwise)) from None


def _damaged(handle: "DatasetHandle", why: str, otherwise: str) -> str:
    return (
        f"The archive of {handle} is damaged or cut short, or holds what must not be unpacked: {why} It was removed: "
        "run it again to download it afresh. If it happens again, the fault is at Kaggle or in a proxy on the way. "
        f"{otherwise}"
    )


@contextmanager
def _in_user_words(what: str, otherwise: str, archive: Path | None = None) -> Iterator[None]:
    """Turn what kagglehub raises into one :class:`DownloadError` that says what to do, without the chain of causes."""
    try:
        yield
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        answer = _ANSWERS.get(status, f"Kaggle answered with an error ({status}): run it again later.")
        raise DownloadError(f"Cannot download {what}. {answer} {otherwise}") from None
    except requests.RequestException as error:
        remedy = f"Check the network and the proxy settings (HTTPS_PROXY), then run it again. {otherwise}"
        if kept := _size(archive):
            remedy = f"{kept:,} bytes are kept: run it again and it goes on from there."
        raise DownloadError(f"The connection to Kaggle for {what} failed ({_reason(error)}). {remedy}") from None
    except ValueError as error:
        raise DownloadError(f"Cannot download {what}: {error}. {CREDENTIALS} {otherwise}") from None
    except OSError as error:
        raise DownloadError(
            f"Cannot store {what} ({error.strerror or error}). Check the free space and the permissions of the data "
            f"folder, then run it again: it goes on from the {_size(archive):,} bytes already here."
        ) from None


def _size(file: Path | None) -> int:
    return file.stat().st_size if file and file.exists() else 0


def _reason(error: BaseException) -> str:
    """Return the innermost cause in words: requests wraps urllib3, which wraps the socket's error."""
    inner = getattr(error, "reason", None) or (error.args[0] if error.args else None)
    if isinstance(inner, BaseException):
        return _reason(inner)
    return " ".join(str(inner or type(error).__name__).split())
