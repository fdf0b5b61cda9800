"""Download a zip or tar archive that is shared on Google Drive, with ``gdown``, and unpack it."""

import re
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import requests

from cerraseg.core.errors import DownloadError
from cerraseg.core.files import atomic_write
from cerraseg.core.storage import need_room

SERVER = "https://drive.google.com"
RETRIES = 3


def download_archive(file_id: str, folder: Path) -> Path:
    """Download the shared archive ``file_id`` and return the folder of its contents, ``folder/file_id``.

    A finished download is found again without the network. An interrupted one is resumed.

    Raises:
        DownloadError: without a network or access, or if the archive is damaged or unsafe, which is then removed.
        StorageError: if the disk is too small.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{10,100}", file_id):
        raise DownloadError(
            f"Cannot download {file_id!r}: expected the id of a file on Google Drive, the part between /d/ and /view "
            "of its link. Check `released.drive_id` in the configuration."
        )
    target, archive = folder / file_id, folder / f"{file_id}.zip"
    if not target.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        _download(f"{SERVER}/uc?id={file_id}", archive)
        _unpack(archive, target)
    archive.unlink(missing_ok=True)
    return target


def _download(url: str, archive: Path) -> None:
    import gdown  # here, as no other step needs it

    def check_room(done: int, total: int | None) -> None:
        if total:  # for the rest of the archive, and as much again unpacked
            need_room(archive.parent, 2 * total - done, "the download and its contents")

    try:
        options: Any = {"use_cookies": False, "resume": True, "timeout": 60, "retries": RETRIES}
        gdown.download(url, str(archive), quiet=not sys.stderr.isatty(), progress=check_room, **options)
    except (gdown.exceptions.DownloadError, requests.RequestException) as error:
        raise DownloadError(
            f"Cannot download {url}: {' '.join(str(error).split())} Check that the file is shared with anyone who has "
            "the link, and the network (HTTPS_PROXY), then run it again: it goes on from what arrived. Or download it "
            "in a browser, unpack it and set `source: local` with its folder; or set `source: kaggle`."
        ) from None


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive, or remove it if it is damaged or one of its entries would leave the folder."""
    try:
        with atomic_write(folder) as temporary:
            temporary.mkdir()
            if tarfile.is_tarfile(archive):
                with tarfile.open(archive) as tar:
                    tar.extractall(temporary, filter="data")
                return
            with zipfile.ZipFile(archive) as opened:
                for name in opened.namelist():
                    if not (temporary / name).resolve().is_relative_to(temporary.resolve()):
                        raise ValueError(f"its entry {name!r} leads outside the folder")
                opened.extractall(temporary)  # noqa: S202  # its entries were looked at
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError, ValueError) as error:
        archive.unlink()
        raise DownloadError(
            f"The archive {archive} is damaged, unsafe or none ({error}). It was removed, and nothing of it was "
            "unpacked: run it again to download it afresh."
        ) from None
