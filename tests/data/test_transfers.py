"""The real kagglehub client and gdown against a server on the loopback interface."""

import io
import random
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kaggle_server import Kaggle, isolate, lead_client_to, serving, zip_of
from scenes import CERRADATA

from cerraseg.core import storage
from cerraseg.core.errors import DownloadError, StorageError
from cerraseg.data import google_drive, kaggle
from cerraseg.data.download import download_checkpoints, download_kaggle

DATASET = "cerranet/cerradata-4mm"
MODELS = "cerranet/trained-models-on-cerradata-4mm"
ID = "1aB-c_D2eF3gH4"
FILES = {
    "cerradata_4mm/msi_images/parrot_beak_ms_7.tif": random.Random(0).randbytes(2 << 20),
    "cerradata_4mm/sar_images/parrot_beak_7.tif": random.Random(1).randbytes(2 << 20),
    "cerradata_4mm/semantic_7c/mask_parrot_beak_7classes_7.tif": b"mask",
}
ARCHIVE = zip_of(FILES)
HALF = len(ARCHIVE) // 2


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Kaggle]:
    isolate(monkeypatch, tmp_path / "home")
    monkeypatch.setattr(kaggle, "ROOM", {DATASET: len(ARCHIVE)})
    monkeypatch.setattr(google_drive, "RETRIES", 0)
    with serving(ARCHIVE) as running:
        lead_client_to(monkeypatch, running.url)
        monkeypatch.setattr(google_drive, "SERVER", running.url)
        yield running


def from_kaggle(folder: Path) -> Path:
    (root,) = download_kaggle(DATASET, 1, folder, CERRADATA)
    return root.parent


def from_drive(folder: Path, file_id: str = ID) -> Path:
    return download_checkpoints(source="drive", dataset="", version=1, drive_id=file_id, folder=folder)


Fetch = Callable[[Path], Path]
from_both = pytest.mark.parametrize("fetch", [from_kaggle, from_drive])


def archives(folder: Path) -> list[Path]:
    """Whole or partial archives, which are kept until they are unpacked."""
    return [path for path in folder.rglob("*") if path.suffix == ".archive" or ".zip" in path.name]


def assert_complete(fetch: Fetch, folder: Path) -> None:
    """Download, and check that the contents are there and the archive is gone."""
    contents = fetch(folder)
    assert {path.relative_to(contents).as_posix(): path.read_bytes() for path in contents.rglob("*.tif")} == FILES
    assert archives(folder) == []


def failure(fetch: Fetch, folder: Path) -> str:
    with pytest.raises(DownloadError) as caught:
        fetch(folder)
    return str(caught.value)


@from_both
def test_a_download_is_complete_and_asks_nothing_again(server, tmp_path, fetch):
    assert_complete(fetch, tmp_path / "data")
    server.requests.clear()
    assert_complete(fetch, tmp_path / "data")
    assert server.requests == [] and list((tmp_path / "home").rglob("*")) == []


def test_kaggle_gives_the_pinned_version_or_the_current_one(server, tmp_path, monkeypatch):
    server.version = 9
    assert_complete(from_kaggle, tmp_path / "data")
    (asked,) = server.asked("DownloadDataset")
    assert (asked.body["ownerSlug"], asked.body["datasetSlug"]) == ("cerranet", "cerradata-4mm")
    assert asked.body["datasetVersionNumber"] == 1
    monkeypatch.delenv("KAGGLE_USERNAME")  # nobody asks for credentials
    (root,) = download_kaggle(DATASET, None, tmp_path / "data", CERRADATA)
    assert root.parent.name == "9"


@from_both
def test_an_interrupted_transfer_is_resumed(server, tmp_path, fetch):
    server.cut_after = HALF
    assert "it goes on from what arrived" in failure(fetch, tmp_path / "data")
    (part,) = archives(tmp_path / "data")
    kept = part.stat().st_size
    assert 0 < kept <= HALF
    server.cut_after = None
    assert_complete(fetch, tmp_path / "data")
    assert server.asked("archive")[-1].range == f"bytes={kept}-"


DAMAGE = {
    "other bytes than the MD5's": {"corrupt": True},
    "short": {"archive": ARCHIVE[:HALF], "md5": False},
    "a changed byte": {"archive": ARCHIVE[:5000] + b"?!" + ARCHIVE[5002:]},
    "no archive": {"archive": b"<html>sign in</html>"},
}


@from_both
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_archive_is_removed(server, tmp_path, fetch, damage):
    for name, value in damage.items():
        setattr(server, name, value)
    assert "is damaged" in failure(fetch, tmp_path / "data")
    assert archives(tmp_path / "data") == []
    server.archive, server.corrupt = ARCHIVE, False
    assert_complete(fetch, tmp_path / "data")


def tar_of(files: dict[str, bytes]) -> bytes:
    with tarfile.open(fileobj=(buffer := io.BytesIO()), mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


UNSAFE = {
    "parent": zip_of({"../evil.tif": b""}),
    "absolute": zip_of({"/evil.tif": b""}),
    "tar parent": tar_of({"../evil.tif": b""}),
}


@pytest.mark.parametrize("content", UNSAFE.values(), ids=UNSAFE)
def test_an_unsafe_archive_leaves_nothing_and_a_tar_is_taken_too(server, tmp_path, content):
    server.archive = content
    assert "unsafe" in failure(from_drive, tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == list(tmp_path.rglob("evil*")) == []
    server.archive = tar_of(FILES)
    assert_complete(from_drive, tmp_path / "data")


def test_an_entry_cannot_leave_kaggles_folder(server, tmp_path):
    server.archive = zip_of({"../../../../../../evil.tif": b"", "/evil_too.tif": b""})
    assert "found evil.tif, evil_too.tif" in failure(from_kaggle, tmp_path / "data")
    assert all(path.is_relative_to(tmp_path / "data/datasets" / DATASET) for path in tmp_path.rglob("evil*"))


@pytest.mark.parametrize(
    ("status", "word"),
    [(401, "KAGGLE_API_TOKEN"), (403, "KAGGLE_API_TOKEN"), (404, "`version`"), (429, "wait"), (503, "again later")],
)
def test_a_refusal_says_what_to_do(server, tmp_path, status, word):
    server.status = status
    message = failure(from_kaggle, tmp_path / "data")
    assert all(part in message for part in (DATASET, word, f"({status})", "`source: local`"))


def test_a_broken_credentials_file_is_named_and_costs_nothing(server, tmp_path, monkeypatch):
    monkeypatch.delenv("KAGGLE_KEY")
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    (tmp_path / "kaggle.json").write_text("{")
    archive = tmp_path / "datasets" / DATASET / "1.archive"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(ARCHIVE[:HALF])
    assert str(tmp_path / "kaggle.json") in failure(from_kaggle, tmp_path)
    assert archive.exists()


@pytest.mark.parametrize("file_id", ["../../secret", "https://drive.google.com/file/d/1aB-c_D2eF3gH4/view", ""])
def test_a_wrong_id_is_refused_before_the_network(tmp_path, file_id):
    with pytest.raises(DownloadError, match=r"released\.drive_id"):
        from_drive(tmp_path, file_id)


@from_both
def test_a_small_disk_is_refused_before_the_transfer(server, tmp_path, monkeypatch, fetch):
    with monkeypatch.context() as patched:
        patched.setattr(storage.shutil, "disk_usage", lambda _: type("Usage", (), {"free": len(ARCHIVE) - 1}))
        with pytest.raises(StorageError, match="the download"):
            fetch(tmp_path / "data")
    assert server.asked("DownloadDataset") == []
    assert_complete(fetch, tmp_path / "data")


@pytest.mark.parametrize("leaving", [10**6, 5 * 10**6], ids=["in the archive", "in its contents"])
def test_a_disk_that_fills_up_costs_nothing_of_what_arrived(server, small_disk, leaving):
    wanted = {"source": "kaggle", "dataset": MODELS, "version": 1, "drive_id": "", "folder": small_disk.folder}
    small_disk.fill(leaving)
    with pytest.raises(OSError, match="No space left on device"):
        download_checkpoints(**wanted)
    small_disk.empty()
    download_checkpoints(**wanted)
    assert any(request.range for request in server.asked("archive")) == (leaving < len(ARCHIVE))


@from_both
def test_without_a_network_no_password_of_a_proxy_is_shown(server, tmp_path, monkeypatch, fetch):
    lead_client_to(monkeypatch, "https://api.kaggle.com")
    monkeypatch.setattr(google_drive, "SERVER", "https://drive.google.com")
    monkeypatch.setenv("HTTPS_PROXY", "http://ana:s3cret@127.0.0.1:9")
    message = failure(fetch, tmp_path)
    assert "HTTPS_PROXY" in message and "s3cret" not in message
