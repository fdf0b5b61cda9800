"""The download with the real kagglehub client against a stand-in for Kaggle, and the manifest."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import requests
from kaggle_server import Kaggle, isolate, serving, zip_of
from kagglesdk import kaggle_env
from project import TINY, Project

from cerraseg.data import archive as archive_module
from cerraseg.data import download
from cerraseg.data import kaggle as kaggle_module
from cerraseg.data.download import download_checkpoints, download_kaggle, find_roots, write_manifest
from cerraseg.core.errors import DataError, DownloadError

DATASET = "cerranet/cerradata-4mm"
MEGABYTE = 1 << 20
HERE = Path(__file__).parents[1]


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


FILES = {
    "cerradata_4mm/msi_images/parrot_beak_ms_7.tif": noise(0, 2 * MEGABYTE),
    "cerradata_4mm/sar_images/parrot_beak_7.tif": noise(1, 2 * MEGABYTE),
    "cerradata_4mm/semantic_7c/mask_parrot_beak_7classes_7.tif": noise(2, 1000),
}
ARCHIVE = zip_of(FILES)
HALF = len(ARCHIVE) // 2


def paths_in(folder: Path) -> tuple[Path, Path, Path]:
    """kagglehub's archive, extraction and completion marker of version 1."""
    home = folder / "datasets" / DATASET
    return home / "1.archive", home / "versions" / "1", home / "1.complete"


def assert_complete(roots: list[Path], folder: Path) -> None:
    archive, extraction, marker = paths_in(folder)
    assert roots == [extraction / "cerradata_4mm"]
    assert {path.relative_to(extraction).as_posix(): path.read_bytes() for path in extraction.rglob("*.tif")} == FILES
    assert marker.exists() and not archive.exists()


def assert_nothing_left(folder: Path) -> None:
    assert [path for path in folder.rglob("*") if path.is_file()] == []


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    isolate(monkeypatch, tmp_path / "home")


@pytest.fixture
def kaggle(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kaggle]:
    with serving(ARCHIVE) as server:
        monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, server.url)
        yield server


def failure(folder: Path, version: int | None = 1, dataset: str = DATASET) -> str:
    """Run a download that must fail; return its message, which must come without a chain of causes."""
    with pytest.raises(DownloadError) as caught:
        download_kaggle(dataset, version, folder)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


def test_a_download_is_complete_and_asks_for_the_pinned_version(kaggle: Kaggle, tmp_path: Path) -> None:
    kaggle.version = 9
    assert_complete(download_kaggle(DATASET, 1, tmp_path / "data"), tmp_path / "data")
    asked = [(r.body["ownerSlug"], r.body["datasetSlug"], r.body["datasetVersionNumber"]) for r in kaggle.requests[::2]]
    assert asked == [("cerranet", "cerradata-4mm", 1)] * 2  # once for the size, once for the content
    assert not kaggle.asked("GetDataset")
    assert list((tmp_path / "home").rglob("*")) == []
    assert "KAGGLEHUB_CACHE" not in os.environ


def test_without_a_version_the_current_one_is_taken(kaggle: Kaggle, tmp_path: Path) -> None:
    kaggle.version = 9
    (root,) = download_kaggle(DATASET, None, tmp_path)
    assert root.parent.name == "9"
    assert {request.body["datasetVersionNumber"] for request in kaggle.asked("DownloadDataset")} == {9}


def test_a_finished_download_asks_nothing(kaggle: Kaggle, tmp_path: Path) -> None:
    first = download_kaggle(DATASET, 1, tmp_path)
    kaggle.requests.clear()
    assert download_kaggle(DATASET, 1, tmp_path) == first
    assert kaggle.requests == []


def test_no_credentials_are_needed_for_public_data(
    kaggle: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAGGLE_USERNAME")
    monkeypatch.delenv("KAGGLE_KEY")
    assert_complete(download_kaggle(DATASET, 1, tmp_path / "data"), tmp_path / "data")


def test_a_relative_folder_stays_relative(kaggle: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert_complete(download_kaggle(DATASET, 1, Path("data/kaggle")), Path("data/kaggle"))


def test_an_interrupted_transfer_goes_on_where_it_stopped(kaggle: Kaggle, tmp_path: Path) -> None:
    kaggle.cut_after = HALF
    message = failure(tmp_path)
    archive, extraction, marker = paths_in(tmp_path)
    kept = archive.stat().st_size
    assert 0 < kept <= HALF
    assert f"{kept:,} bytes are kept: run it again and it goes on from there" in message
    assert archive.read_bytes() == ARCHIVE[:kept]
    assert not extraction.exists() and not marker.exists()

    kaggle.cut_after = None
    kaggle.requests.clear()
    assert_complete(download_kaggle(DATASET, 1, tmp_path), tmp_path)
    assert kaggle.asked("archive")[-1].range == f"bytes={kept}-"


def test_a_killed_process_goes_on_where_it_stopped(kaggle: Kaggle, tmp_path: Path) -> None:
    kaggle.stall_after = HALF
    data = tmp_path / "data"
    code = (
        "import sys, pathlib, kaggle_server; kaggle_server.send_client_to(sys.argv[1]);"
        "from cerraseg.data.download import download_kaggle; download_kaggle(sys.argv[2], 1, pathlib.Path(sys.argv[3]))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])}
    archive = paths_in(data)[0]
    with subprocess.Popen([sys.executable, "-c", code, kaggle.url, DATASET, str(data)], env=environment) as process:
        deadline = time.monotonic() + 20
        while not (archive.exists() and archive.stat().st_size >= MEGABYTE):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    kept = archive.stat().st_size
    assert kept < len(ARCHIVE)

    kaggle.stall_after = None
    kaggle.released.set()
    kaggle.requests.clear()
    assert_complete(download_kaggle(DATASET, 1, data), data)
    assert kaggle.asked("archive")[-1].range == f"bytes={kept}-"


def test_an_unfinished_extraction_is_redone(kaggle: Kaggle, tmp_path: Path) -> None:
    """As a process leaves it that is killed while it unpacks: the archive whole, some files short, no marker."""
    archive, extraction, _ = paths_in(tmp_path)
    for name in FILES:
        (extraction / name).parent.mkdir(parents=True)
        (extraction / name).write_bytes(b"short")
    (extraction / "cerradata_4mm/msi_images/stale_8.tif").touch()
    archive.write_bytes(ARCHIVE)
    assert_complete(download_kaggle(DATASET, 1, tmp_path), tmp_path)
    assert all(request.range is None for request in kaggle.asked("archive"))


@pytest.mark.parametrize("there", [len(ARCHIVE) + 5, 1000], ids=["longer", "of other bytes"])
def test_a_leftover_that_does_not_fit_is_not_built_upon(kaggle: Kaggle, tmp_path: Path, there: int) -> None:
    archive = paths_in(tmp_path)[0]
    archive.parent.mkdir(parents=True)
    archive.write_bytes(bytes(there))
    if there < len(ARCHIVE):
        assert "damaged" in failure(tmp_path)
        assert_nothing_left(tmp_path)
    assert_complete(download_kaggle(DATASET, 1, tmp_path), tmp_path)


DAMAGE = {
    "other bytes than the checksum's": {"corrupt": True},
    "other bytes without a checksum": {"corrupt": True, "md5": False},
    "short, with the checksum of what is sent": {"archive": ARCHIVE[:-100]},
    "short, without a checksum": {"archive": ARCHIVE[:HALF], "md5": False},
    "a changed byte in a file": {"archive": ARCHIVE[:5000] + b"?!" + ARCHIVE[5002:]},
    "not an archive": {"archive": b"<html>sign in</html>"},
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_archive_is_refused_and_removed(
    kaggle: Kaggle, tmp_path: Path, damage: dict[str, bool | bytes]
) -> None:
    for name, value in damage.items():
        setattr(kaggle, name, value)
    message = failure(tmp_path)
    assert f"The archive of {DATASET}/versions/1 is damaged or cut short" in message
    assert "It was removed: run it again" in message
    assert_nothing_left(tmp_path)

    kaggle.archive, kaggle.corrupt, kaggle.md5 = ARCHIVE, False, True
    assert_complete(download_kaggle(DATASET, 1, tmp_path), tmp_path)


def test_a_member_cannot_leave_the_folder(kaggle: Kaggle, tmp_path: Path) -> None:
    data = tmp_path / "data"
    kaggle.archive = zip_of({**FILES, "../../../../../../evil.tif": b"", "/evil_too.tif": b""})
    assert "its entry '../../../../../../evil.tif' leads outside" in failure(data)
    assert list(tmp_path.rglob("evil*")) == []
    assert_nothing_left(data)


def test_no_network(tmp_path: Path) -> None:
    message = failure(tmp_path)
    assert f"The connection to Kaggle for {DATASET}/versions/1 failed" in message
    assert "Connection refused" in message and "Check the network and the proxy" in message
    assert "`source: local`" in message and "roots:" in message
    assert_nothing_left(tmp_path)


def test_no_network_tells_what_is_kept(tmp_path: Path) -> None:
    archive = paths_in(tmp_path)[0]
    archive.parent.mkdir(parents=True)
    archive.write_bytes(ARCHIVE[:HALF])
    assert f"{HALF:,} bytes are kept" in failure(tmp_path)
    assert archive.read_bytes() == ARCHIVE[:HALF]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, ["(401)", "KAGGLE_API_TOKEN", "KAGGLE_USERNAME and KAGGLE_KEY", "~/.kaggle/kaggle.json", "Settings"]),
        (403, ["(403)", "private", "consent", "~/.kaggle/kaggle.json"]),
        (404, ["(404)", "cerranet/cerradata-4mm", "`version`"]),
        (429, ["(429)", "wait"]),
        (503, ["(503)", "again later"]),
    ],
)
@pytest.mark.parametrize("version", [1, None])
def test_a_refusal_says_what_to_do(
    kaggle: Kaggle, tmp_path: Path, status: int, words: list[str], version: int | None
) -> None:
    kaggle.status = status
    message = failure(tmp_path, version)
    assert [word for word in [*words, DATASET, "`source: local`"] if word not in message] == []
    assert_nothing_left(tmp_path)


def test_a_broken_credentials_file_is_named(kaggle: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAGGLE_KEY")
    credentials = tmp_path / "kaggle.json"
    credentials.write_text("{")
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    message = failure(tmp_path / "data")
    assert str(credentials) in message and "Settings -> API" in message


@pytest.mark.parametrize(
    ("dataset", "version"), [("cerradata-4mm", 1), (f"{DATASET}/versions/1", 1), ("../x", 1), (DATASET, 0)]
)
def test_a_wrong_handle_is_refused_before_the_network(
    kaggle: Kaggle, tmp_path: Path, dataset: str, version: int
) -> None:
    assert "expected owner/name" in failure(tmp_path, version, dataset)
    assert kaggle.requests == []


def test_a_full_disk_is_told_before_the_transfer(
    kaggle: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1_200_000_000)
    monkeypatch.setattr(kaggle_module.shutil, "disk_usage", lambda folder: usage)
    monkeypatch.setattr(kaggle_module, "_archive_bytes", lambda handle, archive, otherwise: 10_000_000_000)
    message = failure(tmp_path)
    assert "needs about 40.0 GB" in message and "archive of 10.0 GB" in message and "only 1.2 GB are free" in message
    assert "Free some space" in message and "`source: local`" in message
    assert kaggle.requests == []


def test_the_archives_size_is_what_kaggle_announces(
    kaggle: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need, usage = 4 * len(ARCHIVE), shutil.disk_usage(tmp_path)
    monkeypatch.setattr(kaggle_module.shutil, "disk_usage", lambda folder: usage._replace(free=need - 1))
    assert "Free some space" in failure(tmp_path)
    assert_nothing_left(tmp_path)
    archive = paths_in(tmp_path)[0]
    archive.parent.mkdir(parents=True)
    archive.write_bytes(ARCHIVE[:1])  # one byte is here, so one less is needed
    assert_complete(download_kaggle(DATASET, 1, tmp_path), tmp_path)


def test_a_failing_disk_keeps_the_archive(kaggle: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive_module.shutil, "copyfileobj", full)
    message = failure(tmp_path)
    assert "No space left on device" in message and "It is kept: check the free space" in message
    assert paths_in(tmp_path)[0].stat().st_size == len(ARCHIVE)


def test_an_answer_that_is_no_json_costs_nothing(
    kaggle: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """requests' own JSON error is a ValueError, as kagglehub's for a damaged archive is."""

    def garbled(handle: object) -> None:
        raise requests.JSONDecodeError("Expecting value", "<html>", 0)

    monkeypatch.setattr(kaggle_module.kaggle_client, "asked", garbled)
    archive = paths_in(tmp_path)[0]
    archive.parent.mkdir(parents=True)
    archive.write_bytes(ARCHIVE[:HALF])
    assert f"{HALF:,} bytes are kept" in failure(tmp_path)
    assert archive.read_bytes() == ARCHIVE[:HALF]


def test_another_dataset_is_refused(kaggle: Kaggle, tmp_path: Path) -> None:
    kaggle.archive = zip_of({"cats/1.jpg": b""})
    message = failure(tmp_path)
    assert "holds no folder msi_images or opt_images within three levels; found cats." in message


def test_the_unchanged_client_in_its_test_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the workflow's own test builds upon: KAGGLE_API_ENVIRONMENT=TEST and port 7777."""
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")
    files = {name: content[:1000] for name, content in FILES.items()}
    try:
        server = serving(zip_of(files), port=7777)
        with server as kaggle:
            (root,) = download_kaggle(DATASET, 1, tmp_path)
    except OSError as error:
        pytest.skip(f"port 7777, which kagglehub's test mode insists on, is taken: {error}")
    capsys.readouterr()
    assert [path.stat().st_size for path in root.rglob("*.tif")] == [1000] * 3
    assert len(kaggle.asked("archive")) == 2


def test_roots_are_found_three_levels_down(tmp_path: Path) -> None:
    for name in ["b/msi_images/msi_images", "a/x/y/opt_images", "c/x/y/z/msi_images", "d/sar_images"]:
        (tmp_path / name).mkdir(parents=True)
    assert find_roots(tmp_path) == [tmp_path / "a/x/y", tmp_path / "b"]
    assert find_roots(tmp_path / "b") == [tmp_path / "b"]


def test_the_manifest_counts_and_does_not_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in FILES.items():
        Path(name).parent.mkdir(parents=True)
        Path(name).write_bytes(content)
    Path("cerradata_4mm/msi_images/a_ms_8.tif").write_bytes(b"abc")
    Path("cerradata_4mm/msi_images/a_ms_8.tif.aux.xml").write_bytes(b"not counted")
    path = Path("out/manifest.json")
    write_manifest(path, source="kaggle", roots=[Path("cerradata_4mm")], version=1, dataset=DATASET)
    assert json.loads(path.read_text()) == {
        "source": "kaggle",
        "origin": {"dataset": DATASET, "version": 1},
        "roots": [
            {
                "path": "cerradata_4mm",
                "folders": {
                    "msi_images": {"files": 2, "bytes": 2 * MEGABYTE + 3},
                    "sar_images": {"files": 1, "bytes": 2 * MEGABYTE},
                    "semantic_7c": {"files": 1, "bytes": 1000},
                },
            }
        ],
    }
    first = path.read_bytes()
    write_manifest(path, source="kaggle", roots=[Path("cerradata_4mm")], dataset=DATASET, version=1)
    assert path.read_bytes() == first
    assert [other.name for other in path.parent.iterdir()] == ["manifest.json"]


def test_a_manifest_of_something_else_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "images").mkdir(parents=True)
    with pytest.raises(DataError, match="found images, expected msi_images, opt_images, sar_images, semantic_7c"):
        write_manifest(tmp_path / "manifest.json", source="local", roots=[other])
    with pytest.raises(DataError, match="found no such folder"):
        write_manifest(tmp_path / "manifest.json", source="local", roots=[tmp_path / "nowhere"])
    assert not (tmp_path / "manifest.json").exists()


@pytest.mark.slow
def test_kaggle_download_through_the_workflow(root, tmp_path):
    """The real kagglehub client against a loopback server, then the index over what it unpacked."""
    files = {f"cerradata_4mm/{path.relative_to(root)}": path.read_bytes() for path in sorted(root.rglob("*_42.tif"))}
    other = Project(
        tmp_path / "project", TINY | {"scenes": [], "source": "kaggle", "kaggle": {"dataset": "a/copy", "version": 3}}
    )
    environment = {"KAGGLE_API_ENVIRONMENT": "TEST", "NO_PROXY": "localhost", "HOME": str(tmp_path)}
    try:
        with serving(zip_of(files), port=7777):
            other.run("results/patches.parquet", **environment)
    except OSError as error:
        pytest.skip(f"the client's fixed port 7777 is taken: {error}")
    manifest = json.loads(other.read("results/manifest.json"))
    assert manifest["origin"] == {"dataset": "a/copy", "version": 3}
    assert manifest["source"] == "a/copy"  # only the published data set is called CerraData-4MM
    assert pd.read_parquet(other.folder / "results/patches.parquet")["id"].tolist() == ["42"]
    output = Project(tmp_path / "offline", TINY | {"scenes": [], "source": "kaggle"}).run(
        "results/patches.parquet", ok=False, **environment
    )
    assert "source: local" in output


def test_checkpoints_come_from_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    monkeypatch.setattr(download.kaggle, "fetch", lambda *given, **named: calls.append(given) or tmp_path / "kaggle")
    monkeypatch.setattr(download.drive, "fetch", lambda *given, **named: calls.append(given) or tmp_path / "drive")

    def fetch(source: str, folder: Path = tmp_path) -> Path:
        return download_checkpoints(source=source, dataset="a/b", version=3, drive_id="1aB", folder=folder)

    assert fetch("kaggle") == tmp_path / "kaggle" and fetch("drive") == tmp_path / "drive"
    assert calls == [("a/b", 3, tmp_path), ("1aB", tmp_path)]
    assert fetch("local") == tmp_path
    with pytest.raises(DataError, match=r"no folder .*nowhere"):
        fetch("local", tmp_path / "nowhere")
