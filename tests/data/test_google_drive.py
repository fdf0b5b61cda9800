"""gdown against a server on the loopback interface; Google's page before a large file is gdown's own matter."""

import io
import os
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from kaggle_server import Kaggle, serving, zip_of

from cerraseg.core import storage
from cerraseg.core.errors import DownloadError, StorageError
from cerraseg.data import google_drive
from cerraseg.data.google_drive import download_archive

ID = "1aB-c_D2eF3gH4"
FILES = {"msi/unet_7cMSI_W_model_epoch_9.pt": random.Random(0).randbytes(1 << 20), "sar/x.pt": b"x" * 1000}


def tar_of(files: dict[str, bytes], link: str | None = None) -> bytes:
    with tarfile.open(fileobj=(buffer := io.BytesIO()), mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        if link:
            entry = tarfile.TarInfo("link.pt")
            entry.type, entry.linkname = tarfile.SYMTYPE, link
            archive.addfile(entry)
    return buffer.getvalue()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kaggle]:
    for name in [*os.environ]:
        if "proxy" in name.lower():
            monkeypatch.delenv(name)
    monkeypatch.setattr(google_drive, "RETRIES", 0)
    with serving(zip_of(FILES)) as running:
        monkeypatch.setattr(google_drive, "SERVER", running.url)
        yield running


def assert_complete(folder: Path) -> None:
    """Download, and check that the contents are there and nothing else."""
    found = download_archive(ID, folder)
    assert {path.relative_to(folder / ID).as_posix(): path.read_bytes() for path in found.rglob("*.pt")} == FILES
    assert list(folder.iterdir()) == [found]


@pytest.mark.parametrize("content", [zip_of(FILES), tar_of(FILES)], ids=["zip", "tar.gz"])
def test_a_download_is_complete_and_asks_nothing_again(server: Kaggle, tmp_path: Path, content: bytes) -> None:
    server.archive = content
    assert_complete(tmp_path / "data")
    server.requests.clear()
    assert_complete(tmp_path / "data")
    assert server.requests == []


def test_an_interrupted_download_is_resumed(server: Kaggle, tmp_path: Path) -> None:
    server.cut_after = 700_000
    with pytest.raises(DownloadError, match="goes on from what arrived"):
        download_archive(ID, tmp_path)
    (part,) = tmp_path.iterdir()
    kept = part.stat().st_size
    server.cut_after = None
    assert_complete(tmp_path)
    assert kept > 0 and server.requests[-1].range == f"bytes={kept}-"


UNSAFE = {
    "parent": zip_of({"../evil.pt": b""}),
    "absolute": zip_of({"/evil.pt": b""}),
    "tar parent": tar_of({"../evil.pt": b""}),
    "tar link": tar_of({}, link="/etc/passwd"),
    "short": zip_of(FILES)[:-100],
    "a changed byte": zip_of(FILES).replace(b"x" * 1000, b"x" * 999 + b"y"),
    "page": b"<html>",
}


@pytest.mark.parametrize("content", UNSAFE.values(), ids=UNSAFE)
def test_unsafe_and_damaged_archives_leave_nothing(server: Kaggle, tmp_path: Path, content: bytes) -> None:
    good, server.archive = server.archive, content
    with pytest.raises(DownloadError, match="damaged, unsafe"):
        download_archive(ID, tmp_path / "data")
    assert [*tmp_path.rglob("*")] == [tmp_path / "data"]
    server.archive = good
    assert_complete(tmp_path / "data")


def test_a_small_disk_is_refused_before_the_transfer(
    server: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(storage.shutil, "disk_usage", lambda _: type("Usage", (), {"free": len(server.archive)}))
        with pytest.raises(StorageError):
            download_archive(ID, tmp_path)
    assert_complete(tmp_path)


@pytest.mark.parametrize("file_id", ["../../secret", "https://drive.google.com/file/d/1aB-c_D2eF3gH4/view", ""])
def test_a_wrong_id_is_refused_before_the_network(tmp_path: Path, file_id: str) -> None:
    with pytest.raises(DownloadError, match=r"released\.drive_id"):
        download_archive(file_id, tmp_path)


def test_no_network_and_no_password_of_a_proxy(server: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(google_drive, "SERVER", "https://drive.google.com")
    monkeypatch.setenv("HTTPS_PROXY", "http://ana:s3cret@127.0.0.1:9")
    with pytest.raises(DownloadError, match="proxy") as caught:
        download_archive(ID, tmp_path)
    assert "s3cret" not in str(caught.value)
