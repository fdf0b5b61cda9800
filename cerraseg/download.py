"""Get the dataset from Kaggle, resumable and checked, and write down which data a run stands on.

``kagglehub`` does the transfer. Its cache is put in the project's data folder, because only in its cache does it go on
with a partly downloaded archive: as ``output_dir`` it refuses, or clears, a folder that holds one.
"""

import json
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cerraseg.errors import DataError, DownloadError
from cerraseg.files import replacing
from cerraseg.logs import log
from cerraseg.taxonomy import FOLDERS

if TYPE_CHECKING:
    from kagglehub.handle import DatasetHandle

DATASET_BYTES = 30_291 * 128 * 128 * 4 * (12 + 2 + 1 + 1 + 1 + 1)
"""Size of CerraData-4MM unpacked, in bytes (about 36 GB): 12 MSI and 2 SAR bands, two masks and two edge maps, 4 bytes
a pixel each. An estimate: Kaggle announces the size of the archive alone."""

LOCAL = (
    "If the data is on disk already, set `source: local` in the configuration, with "
    "`roots: [<the folder that holds msi_images>]`."
)
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


def download_kaggle(dataset: str, version: int | None, folder: Path) -> list[Path]:
    """Download ``dataset`` (``owner/name``) into ``folder``; return its root folders, those that hold the MSI images.

    ``version`` counts from 1; None takes the current one, which asks Kaggle every time. A finished download is found
    again without the network; an interrupted one goes on from the bytes that ``folder`` holds; an unfinished extraction
    is redone. Credentials are used where kagglehub finds them and are not needed for public data. Not thread-safe:
    kagglehub takes its cache folder from the environment, which is set for the duration of the call.

    Raises :class:`DownloadError` without a network, access or disk space, when the transfer stops (what arrived is
    kept), or when the archive is damaged or holds no MSI folder (a damaged archive is removed).
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _cache_in(folder):
        from kagglehub.cache import Cache  # imported late: it takes 0.6 s, and this step alone needs it

        handle = _handle(dataset, version)
        cache = Cache()
        found = cache.load_from_cache(handle)
        if found is None:
            archive = Path(cache.get_archive_path(handle))
            if cache.delete_from_cache(handle):
                log.info("removed an unfinished extraction of %s", handle)
            _check_space(folder, archive, _archive_bytes(handle, archive))
            found = _transfer(handle, archive)
    roots = find_roots(Path(found))
    if not roots:
        raise DownloadError(
            f"{handle} is in {found}, but holds no folder {' or '.join(FOLDERS['msi'])} within three levels; found "
            f"{_names(Path(found))}. Check `dataset`; if the folder was changed by hand, delete it and run again."
        )
    return roots


def find_roots(folder: Path, levels: int = 3) -> list[Path]:
    """Return the folders that hold the MSI images, in name order: ``folder`` or those at most ``levels`` below it."""
    if any((folder / name).is_dir() for name in FOLDERS["msi"]):
        return [folder]
    below = sorted(path for path in folder.iterdir() if path.is_dir()) if levels else []
    return [root for path in below for root in find_roots(path, levels - 1)]


def write_manifest(path: Path, *, source: str, roots: Sequence[Path], **origin: object) -> None:
    """Write a JSON manifest: the ``source`` label, its ``origin``, and files (.tif) and bytes per folder of each root.

    The same data and arguments give the same bytes: roots stand as given, keys are sorted, there is no time stamp.
    Raises :class:`DataError` if a root holds none of the known folders.
    """
    counted = [{"path": root.as_posix(), "folders": _count(root)} for root in roots]
    manifest = {"source": source, "origin": origin, "roots": counted}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(manifest, indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8")


def _count(root: Path) -> dict[str, dict[str, int]]:
    """Count the .tif files of each known folder of ``root`` and their bytes."""
    known = [name for names in FOLDERS.values() for name in names]
    counts = {}
    for folder in (root / name for name in known if (root / name).is_dir()):
        sizes = [entry.stat().st_size for entry in os.scandir(folder) if entry.name.endswith(".tif")]
        counts[folder.name] = {"files": len(sizes), "bytes": sum(sizes)}
    if not counts:
        raise DataError(
            f"{root} holds none of the dataset's folders; found {_names(root)}, expected {', '.join(known)}. "
            "Point `roots` at the folder that contains them."
        )
    return counts


def _names(folder: Path) -> str:
    """Name what ``folder`` holds, at most ten entries."""
    if not folder.is_dir():
        return "no such folder"
    names = sorted(path.name for path in folder.iterdir())
    return ", ".join(names[:10] + ["..."] * (len(names) > 10)) or "nothing"


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


def _handle(dataset: str, version: int | None) -> "DatasetHandle":
    """Return kagglehub's handle with a version: the one asked for, else the one that Kaggle calls current."""
    from kagglehub.handle import DatasetHandle
    from kagglehub.http_resolver import ApiGetDatasetRequest, build_kaggle_client

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
        with _in_user_words(dataset), build_kaggle_client() as client:
            version = client.datasets.dataset_api_client.get_dataset(request).current_version_number
        log.info("version %s of %s is current; set `version` in the configuration to stay with it", version, dataset)
    return DatasetHandle(owner, name, version)


def _archive_bytes(handle: "DatasetHandle", archive: Path) -> int:
    """Ask for the archive and return its announced size in bytes, without reading it; if none is, an estimate."""
    from kagglehub.http_resolver import ApiDownloadDatasetRequest, build_kaggle_client

    request = ApiDownloadDatasetRequest()
    request.owner_slug, request.dataset_slug = handle.owner, handle.dataset
    request.dataset_version_number = handle.version
    with _in_user_words(str(handle), archive), build_kaggle_client() as client:
        response = client.datasets.dataset_api_client.download_dataset(request)
        response.close()
    size = int(response.headers.get("Content-Length", DATASET_BYTES))
    if _size(archive) > size:
        # kagglehub would ask for a range behind the end and append the server's error page.
        archive.unlink()
    return size


def _check_space(folder: Path, archive: Path, size: int) -> None:
    """Raise unless ``folder`` has room for the rest of an archive of ``size`` bytes and, beside it, its contents.

    How much comes out of an archive is not announced: three times its size is taken, at most what this dataset holds.
    """
    unpacked = max(size, min(3 * size, DATASET_BYTES))
    need, free = size - _size(archive) + unpacked, shutil.disk_usage(folder).free
    if need > free:
        raise DownloadError(
            f"The download needs about {need / 1e9:.1f} GB in {folder} (what is missing of an archive of "
            f"{size / 1e9:.1f} GB, and its contents), but only {free / 1e9:.1f} GB are free. Free some space, or put "
            f"the data folder on a larger disk. {LOCAL}"
        )
    log.info("archive of %.2f GB, %.2f GB of it here already", size / 1e9, _size(archive) / 1e9)


def _transfer(handle: "DatasetHandle", archive: Path) -> str:
    """Download and unpack with kagglehub; return the folder. A damaged archive is removed with what came out of it."""
    import kagglehub
    import requests
    from kagglehub.cache import delete_from_cache
    from kagglehub.exceptions import DataCorruptionError

    bad = (DataCorruptionError, zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, ValueError)
    with _in_user_words(str(handle), archive):
        try:
            return str(kagglehub.dataset_download(str(handle)))
        except requests.RequestException:  # some of these are ValueErrors too
            raise
        except bad as error:
            archive.unlink(missing_ok=True)
            delete_from_cache(handle)
            raise DownloadError(
                f"The archive of {handle} is damaged or cut short ({_reason(error)}). It was removed: run it again to "
                f"download it afresh. If it happens again, the fault is at Kaggle or in a proxy on the way. {LOCAL}"
            ) from None


@contextmanager
def _in_user_words(what: str, archive: Path | None = None) -> Iterator[None]:
    """Turn what kagglehub raises into one :class:`DownloadError` that says what to do, without the chain of causes."""
    import requests

    try:
        yield
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        answer = _ANSWERS.get(status, f"Kaggle answered with an error ({status}): run it again later.")
        raise DownloadError(f"Cannot download {what}. {answer} {LOCAL}") from None
    except requests.RequestException as error:
        remedy = f"Check the network and the proxy settings (HTTPS_PROXY), then run it again. {LOCAL}"
        if kept := _size(archive):
            remedy = f"{kept:,} bytes are kept: run it again and it goes on from there."
        raise DownloadError(f"The connection to Kaggle for {what} failed ({_reason(error)}). {remedy}") from None
    except ValueError as error:
        raise DownloadError(f"Cannot download {what}: {error}. {CREDENTIALS} {LOCAL}") from None
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
