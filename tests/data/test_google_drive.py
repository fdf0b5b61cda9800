"""The download from Google Drive against a stand-in for it."""

import functools
import io
import os
import platform
import random
import runpy
import shutil
import signal
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from drive_server import FORM, LINK, MISSING, QUOTA, SIGN_IN, Drive, serving

from cerraseg.data import archive, download, google_drive
from cerraseg.models import released
from cerraseg.core.errors import DownloadError
from cerraseg.config.scenario import parse

ID = "1aB-c_D2eF3gH4"
MEGABYTE = 1 << 20
HERE = Path(__file__).parents[1]
FILES = {"msi/unet_7cMSI_W_model_epoch_9.pt": random.Random(0).randbytes(MEGABYTE), "sar/x.pt": b"x" * 1000}


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return buffer.getvalue()


ARCHIVE = zip_of(FILES)
OTHER = zip_of({**FILES, "sar/x.pt": b"y" * 1000})
HALF = len(ARCHIVE) // 2


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if "proxy" in name.lower():
            monkeypatch.delenv(name)
    monkeypatch.setattr(google_drive, "WAITS", ())


@pytest.fixture
def server() -> Iterator[Drive]:
    with serving(ARCHIVE) as running:
        yield running


def assert_complete(server: Drive, folder: Path, files: dict[str, bytes] = FILES) -> None:
    """Download, and check that the contents are there and nothing else."""
    found = google_drive.fetch(ID, folder, server=server.url)
    assert found == folder / ID
    assert {path.relative_to(found).as_posix(): path.read_bytes() for path in found.rglob("*.pt")} == files
    assert list(folder.iterdir()) == [found]


def failure(server: Drive, folder: Path) -> str:
    with pytest.raises(DownloadError) as caught:
        google_drive.fetch(ID, folder, server=server.url)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert not (folder / ID).exists()
    return str(caught.value)


def part(folder: Path) -> Path:
    return folder / f"{ID}.zip.unfinished"


def interrupt(server: Drive, folder: Path) -> int:
    """Let a download stop in the middle; return how many bytes are kept, with the record of requests cleared."""
    server.cuts = [HALF]
    message = failure(server, folder)
    kept = part(folder).stat().st_size
    assert 0 < kept <= HALF and part(folder).read_bytes() == server.content[:kept]
    assert f"{kept:,} bytes are kept: run it again and it goes on from there" in message
    server.sent.clear()
    server.requests.clear()
    return kept


PAGES = {
    "the file at once": (None, "/download"),
    "a form": (FORM, "/download"),
    "a form with a query": (FORM, "/download?export=old&amp;x=1"),
    "an older link": (LINK, "/download"),
}


@pytest.mark.parametrize(("page", "action"), PAGES.values(), ids=PAGES)
def test_a_download_is_complete_and_asks_nothing_again(
    server: Drive, tmp_path: Path, page: str | None, action: str
) -> None:
    server.page, server.action = page, action
    assert_complete(server, tmp_path)
    assert server.requests[0].path == f"/uc?export=download&id={ID}"
    assert len(server.requests) == (1 if page is None else 2)
    server.requests.clear()
    assert_complete(server, tmp_path)
    assert server.requests == []


def test_the_workflows_step_lists_what_came(server: Drive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download.drive, "fetch", functools.partial(google_drive.fetch, server=server.url))
    settings = {"source": "drive", "dataset": "", "version": 1, "drive_id": ID, "folder": str(tmp_path / "data")}
    stub = SimpleNamespace(
        log=[str(tmp_path / "released.log")],
        params=SimpleNamespace(settings=settings),
        output=SimpleNamespace(listing=str(tmp_path / "released.json")),
    )
    script = HERE.parent / "workflow/scripts/released.py"
    runpy.run_path(str(script), init_globals={"snakemake": stub}, run_name="__main__")
    file = released.checkpoint_of(tmp_path / "released.json", parse("unet-msi-w-l1-released-0"))
    assert file.read_bytes() == FILES["msi/unet_7cMSI_W_model_epoch_9.pt"]


def test_a_form_with_a_whole_address_and_a_redirect(server: Drive, tmp_path: Path) -> None:
    server.action = f"{server.url}/download"
    server.redirect = f"/moved?id={ID}"
    assert_complete(server, tmp_path)
    assert [request.path.partition("?")[0] for request in server.requests] == ["/uc", "/moved", "/download"]


@pytest.mark.parametrize("page", [FORM, None], ids=["a form", "the file at once"])
@pytest.mark.parametrize(
    ("etag", "modified", "condition"),
    [
        ('"one"', None, '"one"'),
        ('W/"one"', "Tue, 07 Jan 2025 08:00:00 GMT", "Tue, 07 Jan 2025 08:00:00 GMT"),
        (None, None, None),
    ],
)
def test_an_interrupted_download_gets_only_what_is_missing(
    server: Drive, tmp_path: Path, page: str | None, etag: str | None, modified: str | None, condition: str | None
) -> None:
    server.page, server.etag, server.modified = page, etag, modified
    kept = interrupt(server, tmp_path)
    assert_complete(server, tmp_path)
    assert server.sent == [len(ARCHIVE) - kept]
    assert server.requests[-1][1:] == (f"bytes={kept}-", condition)


def test_a_failed_connection_is_tried_again(server: Drive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(google_drive, "WAITS", (0, 0))
    server.cuts = [HALF, 1000]
    assert_complete(server, tmp_path)
    ranges = [request.range for request in server.requests if request.path.startswith("/download")]
    assert ranges[0] is None and len(set(ranges)) >= 2 and len(ranges) == 3


def test_a_killed_process_goes_on_where_it_stopped(server: Drive, tmp_path: Path) -> None:
    server.stall_after = HALF
    code = (
        "import sys, pathlib; from cerraseg.data import google_drive as drive;"
        "drive.fetch(sys.argv[1], pathlib.Path(sys.argv[2]), server=sys.argv[3])"
    )
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    command = [sys.executable, "-c", code, ID, str(tmp_path), server.url]
    with subprocess.Popen(command, env=environment) as process:
        deadline = time.monotonic() + 20
        while not (part(tmp_path).exists() and part(tmp_path).stat().st_size >= HALF // 2):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    kept = part(tmp_path).stat().st_size
    assert process.returncode == -signal.SIGKILL and kept <= HALF
    server.stall_after = None
    server.released.set()
    server.sent.clear()
    assert_complete(server, tmp_path)
    assert server.sent == [len(ARCHIVE) - kept]


def test_a_process_killed_while_it_unpacks_needs_no_network(server: Drive, tmp_path: Path) -> None:
    (tmp_path / f"{ID}.zip").write_bytes(ARCHIVE)
    (tmp_path / f"{ID}.zip.unfinished.json").write_text("{}")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    stale = tmp_path / f".{ID}.{platform.node()}.{ended.pid}.part"
    stale.mkdir()
    (stale / "half.pt").touch()
    assert_complete(server, tmp_path)
    assert server.requests == []


def test_a_process_killed_after_the_last_byte_needs_no_network(server: Drive, tmp_path: Path) -> None:
    interrupt(server, tmp_path)
    part(tmp_path).write_bytes(ARCHIVE)
    assert_complete(server, tmp_path)
    assert server.requests == []


def test_a_server_without_ranges_sends_all_again(server: Drive, tmp_path: Path) -> None:
    interrupt(server, tmp_path)
    server.ranges = False
    assert_complete(server, tmp_path)
    assert server.sent == [len(ARCHIVE)]


@pytest.mark.parametrize("conditions", [True, False], ids=["If-Range", "no If-Range"])
@pytest.mark.parametrize("content", [OTHER, OTHER + b"longer", zip_of({"a.pt": b"short"})])
def test_a_changed_file_is_not_mixed(
    server: Drive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, conditions: bool
) -> None:
    interrupt(server, tmp_path)
    monkeypatch.setattr(google_drive, "WAITS", (0,))
    server.content, server.etag, server.conditions = content, '"two"', conditions
    files = {"a.pt": b"short"} if len(content) < HALF else {**FILES, "sar/x.pt": b"y" * 1000}
    assert_complete(server, tmp_path, files)
    assert server.sent[-1] == len(content)


def test_a_part_that_nothing_is_known_of_is_not_built_upon(server: Drive, tmp_path: Path) -> None:
    part(tmp_path).write_bytes(b"who knows")
    assert_complete(server, tmp_path)
    interrupted = tmp_path / "more"
    interrupt(server, interrupted)
    with part(interrupted).open("ab") as file:
        file.write(bytes(2 * len(ARCHIVE)))
    assert_complete(server, interrupted)
    assert server.sent == [len(ARCHIVE)]


def test_a_length_that_is_not_announced(server: Drive, tmp_path: Path) -> None:
    server.size = False
    assert_complete(server, tmp_path / "good")
    server.cuts = [HALF]
    assert "is damaged, cut short or no zip archive" in failure(server, tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "good"]
    assert_complete(server, tmp_path / "again")


def link() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        info = zipfile.ZipInfo("link.pt")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(info, "/etc/passwd")
    return buffer.getvalue()


def bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("zeros.pt", bytes(10 * MEGABYTE))
    return buffer.getvalue()


UNSAFE = {
    "parent": (zip_of({"../evil.pt": b""}), "leads outside"),
    "absolute": (zip_of({"/evil.pt": b""}), "is absolute"),
    "link": (link(), "is a link"),
    "bomb": (bomb(), "packed too tightly"),
    "short": (ARCHIVE[:-100], "is damaged, cut short"),
    "page": (b"<html>", "is damaged, cut short or no zip archive"),
}


@pytest.mark.parametrize(("content", "reason"), UNSAFE.values(), ids=UNSAFE)
def test_unsafe_archives_leave_nothing(server: Drive, tmp_path: Path, content: bytes, reason: str) -> None:
    server.content = content
    folder = tmp_path / "data"
    message = failure(server, folder)
    assert reason in message and "removed" in message
    assert [*tmp_path.rglob("*")] == [folder]
    server.content = ARCHIVE
    assert_complete(server, folder)


REFUSALS = {
    "quota": (QUOTA, 200, ["too many people", "Run it again tomorrow"]),
    "missing": (MISSING, 404, ["there is no such file", "between /d/ and /view"]),
    "sign in": (SIGN_IN, 200, ["not shared with everyone", "ask its owner"]),
    "forbidden": ("<html><title>Google Drive - Access Denied</title>", 403, ["not shared with everyone"]),
    "too many": ("", 429, ["too many requests", "Wait some minutes"]),
    "unknown": ("<html><title>Moved on</title><form action='/x'></form>", 200, ["answers 200", "named 'Moved on'"]),
    "no HTML": ("<![ex<", 200, ["answers 200 with a page"]),
    "error": (FORM, 500, ["the server answered 500"]),
}


@pytest.mark.parametrize(("page", "status", "words"), REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("resumed", [False, True])
def test_a_refusal_says_what_to_do(
    server: Drive, tmp_path: Path, page: str, status: int, words: list[str], resumed: bool
) -> None:
    kept = interrupt(server, tmp_path) if resumed else 0
    server.page, server.status = page, status
    message = failure(server, tmp_path)
    wanted = [*words, ID, f"{server.url}/file/d/{ID}/view", "`source: local`", "`source: kaggle`"]
    assert [word for word in wanted if word not in message] == []
    assert (part(tmp_path).stat().st_size if resumed else 0) == kept
    assert resumed or list(tmp_path.iterdir()) == []


def test_a_page_that_comes_again_and_again(server: Drive, tmp_path: Path) -> None:
    server.action = "/uc"
    assert "one page after another" in failure(server, tmp_path)
    server.redirect = "/uc?export=download"
    assert "without end" in failure(server, tmp_path)


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/download",
        "http://drive.google.com/download",
        "https://drive.google.com.evil.example/download",
        "https://drive.google.com@evil.example/download",
        "https://evil.example\\.google.com/download",
        "https://evilgoogle.com/download",
        "//evil.example/download",
        "file:///etc/passwd",
        "http://127.0.0.1:1/download",
        "https://[evil/",
    ],
)
@pytest.mark.parametrize("way", ["form", "link", "redirect"])
def test_strangers_are_not_followed(server: Drive, tmp_path: Path, address: str, way: str) -> None:
    server.page = LINK if way == "link" else FORM
    server.action, server.redirect = address, address if way == "redirect" else None
    message = failure(server, tmp_path)
    assert "which is not Google's: that is not followed" in message or "is no address" in message
    assert len(server.requests) == 1 and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "address", ["https://drive.google.com/uc?id=1", "https://drive.usercontent.google.com/download?id=1"]
)
def test_googles_own_addresses_are_followed(address: str) -> None:
    assert google_drive._GOOGLE.match(address)


@pytest.mark.parametrize(
    ("file_id", "address"),
    [
        ("../../secret", "https://drive.google.com"),
        ("https://drive.google.com/file/d/1aB-c_D2eF3gH4/view", "https://drive.google.com"),
        ("", "https://drive.google.com"),
        (ID, "http://drive.google.com"),
        (ID, "ftp://127.0.0.1"),
    ],
)
def test_a_wrong_id_or_server_is_refused_before_the_network(tmp_path: Path, file_id: str, address: str) -> None:
    with pytest.raises(DownloadError, match="expected the id of a file on Google Drive"):
        google_drive.fetch(file_id, tmp_path, server=address)


def test_no_network(tmp_path: Path) -> None:
    nowhere = Drive(b"", url="http://127.0.0.1:9")
    message = failure(nowhere, tmp_path)
    assert "the connection failed" in message and "Connection refused" in message and "HTTPS_PROXY" in message
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_before_the_transfer(
    server: Drive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(archive.shutil, "disk_usage", lambda folder: usage._replace(free=2 * len(ARCHIVE) - 1))
        assert "Not enough space" in failure(server, tmp_path)
    assert part(tmp_path).stat().st_size == 0
    assert_complete(server, tmp_path)


def test_a_failing_disk_keeps_what_arrived(server: Drive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    kept = interrupt(server, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(google_drive, "check_space", full)
        message = failure(server, tmp_path)
    assert "No space left on device" in message and f"goes on from the {kept:,} bytes" in message
    assert_complete(server, tmp_path)


@pytest.mark.parametrize("size", [True, False])
def test_more_than_is_allowed_is_refused(server: Drive, tmp_path: Path, size: bool) -> None:
    server.size = size
    with pytest.raises(DownloadError, match="it has more than the 1,000 bytes announced or allowed"):
        google_drive.fetch(ID, tmp_path, server=server.url, most=1000)
