"""Download a dataset from Kaggle: ``kagglehub`` finds the credentials, resumes, checks the MD5 and unpacks."""

import os
from pathlib import Path

import requests

from cerraseg.core.errors import DownloadError
from cerraseg.core.storage import need_room

ROOM = {
    "cerranet/cerradata-4mm": 30_291 * 128 * 128 * 4 * (12 + 2 + 1 + 1 + 1 + 1),
    "cerranet/trained-models-on-cerradata-4mm": 12 * (91_300_000 + 130_200_000),
}
"""Kaggle dataset → bytes of its contents, 36 GB and 2.7 GB; Kaggle announces no sizes, others are not checked."""

_CREDENTIALS = (
    "Get a token on Kaggle (Settings -> API) and put it into the variable KAGGLE_API_TOKEN or the file "
    "~/.kaggle/access_token; a legacy key is ~/.kaggle/kaggle.json, or KAGGLE_USERNAME and KAGGLE_KEY."
)
_ANSWERS = {
    401: f"Kaggle does not accept the credentials, or asks for some. {_CREDENTIALS}",
    403: f"The dataset is private, its page asks for consent first, or the credentials are not valid. {_CREDENTIALS}",
    404: "Kaggle knows no such dataset or version: check `dataset` and `version` in the configuration.",
    429: "Kaggle has had too many requests from here: wait some minutes and run it again.",
}
_LOCAL = "If the files are on disk already, set `source: local` and their folder in the configuration."


def download_dataset(dataset: str, version: int | None, folder: Path) -> Path:
    """Download a Kaggle dataset and return the folder of its contents.

    A finished download of a given version is found again without the network. An interrupted one is resumed.

    Args:
        dataset: handle, ``owner/name``.
        version: from 1; None: the current one.
        folder: where kagglehub keeps archive and contents.

    Raises:
        DownloadError: without a network or access, or if the archive is damaged, which is then removed.
        StorageError: if the disk is too small for a dataset of :data:`ROOM`.
    """
    import kagglehub  # here, as it takes 0.6 s and no other step needs it

    home = folder / "datasets" / dataset
    if not (home / "versions").exists():
        need_room(folder, ROOM.get(dataset, 0), f"the download of {dataset}")
    # kagglehub's own cache and not its ``output_dir``: there it refuses to resume what was interrupted.
    os.environ |= {"KAGGLEHUB_CACHE": str(folder), "DISABLE_KAGGLE_CACHE": "true", "DISABLE_COLAB_CACHE": "true"}
    handle = f"{dataset}/versions/{version}" if version else dataset
    try:
        return Path(kagglehub.dataset_download(handle))
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        fault = f"Kaggle answers ({status}): {_ANSWERS.get(status, 'run it again later.')}"
    except requests.RequestException as error:  # whose text has addresses, which may hold keys
        fault = (
            f"The connection failed ({type(error).__name__}). Check the network and the proxy settings (HTTPS_PROXY), "
            "then run it again: it goes on from what arrived."
        )
    except OSError:  # of the disk, which the step explains
        raise
    except Exception as error:  # of an archive: kagglehub's, zipfile's, tarfile's and zlib's errors have no common base
        fault = f"{' '.join(str(error).split())}."
        if "redentials" in fault:
            fault += f" {_CREDENTIALS}"
        else:
            for archive in home.glob("*.archive"):
                archive.unlink()
            fault += " The archive is damaged. It was removed: run it again to download it afresh."
    raise DownloadError(f"Cannot download {handle}. {fault} {_LOCAL}")
