"""The real kagglehub client against a server on the loopback interface."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from disks import Disk
from kaggle_server import Kaggle, isolate, lead_client_to, serving, zip_of

from cerraseg.core import storage
from cerraseg.core.errors import DownloadError, StorageError
from cerraseg.data import kaggle as client
from cerraseg.data.download import download_checkpoints, download_kaggle

DATASET = "cerranet/cerradata-4mm"
MODELS = "cerranet/trained-models-on-cerradata-4mm"
FILES = {
    "cerradata_4mm/msi_images/parrot_beak_ms_7.tif": random.Random(0).randbytes(2 << 20),
    "cerradata_4mm/sar_images/parrot_beak_7.tif": random.Random(1).randbytes(2 << 20),
    "cerradata_4mm/semantic_7c/mask_parrot_beak_7classes_7.tif": b"mask",
}
ARCHIVE = zip_of(FILES)
HALF = len(ARCHIVE) // 2


@pytest.fixture
def kaggle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Kaggle]:
    isolate(monkeypatch, tmp_path / "home")
    monkeypatch.setattr(client, "ROOM", {DATASET: len(ARCHIVE)})
    with serving(ARCHIVE) as server:
        lead_client_to(monkeypatch, server.url)
        yield server


def archive_in(folder: Path) -> Path:
    """Where kagglehub keeps the archive of version 1 until it is unpacked."""
    return folder / "datasets" / DATASET / "1.archive"


def assert_complete(folder: Path) -> None:
    """Download, and check that the contents are there and the archive is gone."""
    contents = folder / "datasets" / DATASET / "versions/1"
    assert download_kaggle(DATASET, 1, folder) == [contents / "cerradata_4mm"]
    assert {path.relative_to(contents).as_posix(): path.read_bytes() for path in contents.rglob("*.tif")} == FILES
    assert not archive_in(folder).exists()


def failure(folder: Path, version: int | None = 1) -> str:
    with pytest.raises(DownloadError) as caught:
        download_kaggle(DATASET, version, folder)
    assert DATASET in str(caught.value)
    return str(caught.value)


def test_a_download_is_complete_and_asks_for_the_pinned_version_once(kaggle: Kaggle, tmp_path: Path) -> None:
    kaggle.version = 9
    assert_complete(tmp_path / "data")
    (asked,) = kaggle.asked("DownloadDataset")
    assert (asked.body["ownerSlug"], asked.body["datasetSlug"]) == ("cerranet", "cerradata-4mm")
    assert asked.body["datasetVersionNumber"] == 1
    kaggle.requests.clear()
    assert_complete(tmp_path / "data")
    assert kaggle.requests == []
    assert list((tmp_path / "home").rglob("*")) == []


def test_without_a_version_or_credentials_the_current_one_is_taken(
    kaggle: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAGGLE_USERNAME")
    kaggle.version = 9
    (root,) = download_kaggle(DATASET, None, tmp_path / "data")
    assert root.parent.name == "9"


def test_an_interrupted_transfer_is_resumed(kaggle: Kaggle, tmp_path: Path) -> None:
    kaggle.cut_after = HALF
    assert "it goes on from what arrived" in failure(tmp_path)
    kept = archive_in(tmp_path).stat().st_size
    assert 0 < kept <= HALF
    kaggle.cut_after = None
    assert_complete(tmp_path)
    assert kaggle.asked("archive")[-1].range == f"bytes={kept}-"


DAMAGE = {
    "other bytes than the MD5's": {"corrupt": True},
    "short": {"archive": ARCHIVE[:HALF], "md5": False},
    "a changed byte": {"archive": ARCHIVE[:5000] + b"?!" + ARCHIVE[5002:]},
    "no archive": {"archive": b"<html>sign in</html>"},
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_archive_is_removed(kaggle: Kaggle, tmp_path: Path, damage: dict[str, bool | bytes]) -> None:
    for name, value in damage.items():
        setattr(kaggle, name, value)
    assert "is damaged" in failure(tmp_path / "data")
    assert not archive_in(tmp_path / "data").exists()
    kaggle.archive, kaggle.corrupt = ARCHIVE, False
    assert_complete(tmp_path / "data")


def test_an_entry_cannot_leave_the_folder(kaggle: Kaggle, tmp_path: Path) -> None:
    kaggle.archive = zip_of({"../../../../../../evil.tif": b"", "/evil_too.tif": b""})
    assert "found evil.tif, evil_too.tif" in failure(tmp_path / "data")
    assert all(path.is_relative_to(archive_in(tmp_path / "data").parent) for path in tmp_path.rglob("evil*"))


@pytest.mark.parametrize(
    ("status", "word"),
    [(401, "KAGGLE_API_TOKEN"), (403, "KAGGLE_API_TOKEN"), (404, "`version`"), (429, "wait"), (503, "again later")],
)
@pytest.mark.parametrize("version", [1, None])
def test_a_refusal_says_what_to_do(kaggle: Kaggle, tmp_path: Path, status: int, word: str, version: int | None) -> None:
    kaggle.status = status
    message = failure(tmp_path / "data", version)
    assert word in message and f"({status})" in message and "`source: local`" in message


def test_a_broken_credentials_file_is_named_and_costs_nothing(
    kaggle: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAGGLE_KEY")
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    (tmp_path / "kaggle.json").write_text("{")
    archive_in(tmp_path).parent.mkdir(parents=True)
    archive_in(tmp_path).write_bytes(ARCHIVE[:HALF])
    assert str(tmp_path / "kaggle.json") in failure(tmp_path)
    assert archive_in(tmp_path).exists()


def test_a_small_disk_is_refused_before_the_transfer(
    kaggle: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda _: type("Usage", (), {"free": len(ARCHIVE) - 1}))
    with pytest.raises(StorageError, match=DATASET):
        download_kaggle(DATASET, 1, tmp_path)
    assert kaggle.requests == []


@pytest.mark.parametrize("leaving", [10**6, 5 * 10**6], ids=["in the archive", "in its contents"])
def test_a_disk_that_fills_up_costs_nothing_of_what_arrived(kaggle: Kaggle, small_disk: Disk, leaving: int) -> None:
    wanted = {"source": "kaggle", "dataset": MODELS, "version": 1, "drive_id": "", "folder": small_disk.folder}
    small_disk.fill(leaving)
    with pytest.raises(OSError, match="No space left on device"):
        download_checkpoints(**wanted)
    small_disk.empty()
    download_checkpoints(**wanted)
    assert any(request.range for request in kaggle.asked("archive")) == (leaving < len(ARCHIVE))


def test_no_network_and_no_password_of_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    isolate(monkeypatch, tmp_path / "home")
    monkeypatch.setattr(client, "ROOM", {})
    assert "HTTPS_PROXY" in failure(tmp_path)
    monkeypatch.setenv("HTTPS_PROXY", "http://ana:s3cret@127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY")
    lead_client_to(monkeypatch, "https://api.kaggle.com")
    assert "ProxyError" in failure(tmp_path) and "s3cret" not in failure(tmp_path)
