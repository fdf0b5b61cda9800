"""Download a dataset from Kaggle: ``kagglehub`` finds the credentials, resumes, checks the MD5 and unpacks."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from cerraseg.core.errors import DownloadError
from cerraseg.core.storage import need_room

CREDENTIALS = (
    "To get a token: sign in to Kaggle, Settings -> API. Put the token itself into the variable KAGGLE_API_TOKEN or "
    "into the file ~/.kaggle/access_token; a legacy key is the downloaded ~/.kaggle/kaggle.json, or KAGGLE_USERNAME "
    "and KAGGLE_KEY."
)
_ANSWERS = {
    401: f"Kaggle does not accept the credentials, or asks for some (401). {CREDENTIALS}",
    403: "Kaggle refuses access (403): the dataset is private, or its page asks for consent first, or the credentials "
    f"are not valid. {CREDENTIALS}",
    404: "Kaggle knows no such dataset or version (404). Expected a `dataset` such as cerranet/cerradata-4mm and a "
    "`version` that is listed on its page: check both in the configuration.",
    429: "Kaggle has had too many requests from here (429): wait some minutes and run it again.",
}


def download_dataset(dataset: str, version: int | None, folder: Path, *, room: int, alternative: str) -> Path:
    """Download a Kaggle dataset and return the folder of its contents.

    A finished download of a given version is found again without the network. An interrupted one is resumed. Sets the
    environment variables from which kagglehub takes its folder.

    Args:
        dataset: handle, ``owner/name``.
        version: from 1; None: the current one.
        folder: where kagglehub keeps archive and contents.
        room: bytes that must be free before a download begins.
        alternative: how to do without Kaggle, a sentence that ends the error messages.

    Raises:
        DownloadError: without a network or access, or if the archive is damaged, which is then removed.
        StorageError: if the disk is too small.
    """
    import kagglehub  # here, as it takes 0.6 s and no other step needs it

    home = folder / "datasets" / dataset
    if not (home / "versions").exists():
        need_room(folder, room, f"the download of {dataset}")
    # kagglehub's own cache and not its ``output_dir``: there it refuses to resume what was interrupted.
    os.environ |= {"KAGGLEHUB_CACHE": str(folder), "DISABLE_KAGGLE_CACHE": "true", "DISABLE_COLAB_CACHE": "true"}
    handle = f"{dataset}/versions/{version}" if version else dataset
    with _explained(handle, home, alternative):
        return Path(kagglehub.dataset_download(handle))


@contextmanager
def _explained(handle: str, home: Path, alternative: str) -> Iterator[None]:
    """Raise what kagglehub raises as a DownloadError with a remedy; a damaged archive in ``home`` is removed."""
    try:
        yield
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        answer = _ANSWERS.get(status, f"Kaggle answered with an error ({status}): run it again later.")
        raise DownloadError(f"Cannot download {handle}. {answer} {alternative}") from None
    except requests.RequestException as error:
        raise DownloadError(
            f"The connection to Kaggle for {handle} failed ({_reason(error)}). Check the network and the proxy "
            f"settings (HTTPS_PROXY), then run it again: it goes on from what arrived. {alternative}"
        ) from None
    except OSError:  # of the disk, which the step explains
        raise
    except Exception as error:  # of an archive: kagglehub's, zipfile's, tarfile's and zlib's errors have no common base
        if "redentials" in str(error):
            raise DownloadError(f"Cannot download {handle}: {error}. {CREDENTIALS} {alternative}") from None
        for archive in home.glob("*.archive"):
            archive.unlink()
        raise DownloadError(
            f"The archive of {handle} is damaged ({' '.join(str(error).split())}). It was removed: run it again to "
            f"download it afresh. If it happens again, the fault is at Kaggle or in a proxy on the way. {alternative}"
        ) from None


def _reason(error: BaseException) -> str:
    """The innermost cause in words, without the addresses (and passwords of proxies) that the outer errors repeat."""
    inner = getattr(error, "reason", None) or (error.args[0] if error.args else None)
    if isinstance(inner, BaseException):
        return _reason(inner)
    return " ".join(str(inner or type(error).__name__).split())
