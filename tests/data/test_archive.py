"""Archives that must not be unpacked, and that nothing is left of them."""

import shutil
import stat
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from disks import Disk

from cerraseg.data import archive
from cerraseg.data.archive import ArchiveError, unpack
from cerraseg.core.errors import DownloadError

GOOD = {"msi/unet_7cMSI_W_model_epoch:9.pt": b"a" * 5000, "sar/": b"", "./sar/unet.pt": b"b"}


def entry(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


def write(path: Path, *extra: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    """Write a zip of the good files, then of ``extra``."""
    with zipfile.ZipFile(path, "w", method) as opened:
        for name, content in (*GOOD.items(), *extra):
            opened.writestr(name, content)
    return path


def assert_refused(path: Path, reason: str, most: int = archive.MOST_BYTES) -> None:
    """Check that the archive, and nothing else in its folder, goes with an error that says why."""
    before = {other for other in path.parent.parent.rglob("*")} - {path}
    with pytest.raises(ArchiveError) as caught:
        unpack(path, path.parent / "contents", most=most)
    assert reason in str(caught.value) and str(path) in str(caught.value) and "removed" in str(caught.value)
    assert {other for other in path.parent.parent.rglob("*")} == before


@pytest.fixture
def zipped(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "models.zip"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_becomes_its_contents(zipped: Path, method: int) -> None:
    folder = zipped.parent / "contents"
    unpack(write(zipped, method=method), folder)
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert files == {"msi/unet_7cMSI_W_model_epoch:9.pt": b"a" * 5000, "sar/unet.pt": b"b"}
    assert list(zipped.parent.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil.pt", "leads outside"),
        ("msi/../../evil.pt", "leads outside"),
        ("/evil.pt", "is absolute"),
        ("C:/evil.pt", "is absolute"),
        ("c:evil.pt", "is absolute"),
        ("..\\evil.pt", "has a backslash"),
        ("msi\\evil.pt", "has a backslash"),
        ("evil.pt\0.txt", "control character"),
        ("evil\n.pt", "control character"),
        ("./", "has no name"),
        ("", "has no name"),
        ("x" * 300, "an entry cannot be unpacked"),
        ("sar/unet.pt", "occurs twice"),
        ("sar//./unet.pt", "occurs twice"),
        ("sar/unet.pt/below.pt", "an entry cannot be unpacked"),
        ("msi", "an entry cannot be unpacked"),
    ],
)
def test_names_that_are_refused(zipped: Path, name: str, reason: str) -> None:
    info = entry("x")
    info.filename = name  # the constructor would clean it
    assert_refused(write(zipped, (info, b"evil")), reason)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFDIR])
def test_links_and_special_files_are_refused(zipped: Path, kind: int) -> None:
    assert_refused(write(zipped, (entry("link.pt", kind | 0o777), b"/etc/passwd")), "link or a special file")


def test_an_encrypted_entry_is_refused(zipped: Path) -> None:
    content = bytearray(write(zipped).read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1
    zipped.write_bytes(content)
    assert_refused(zipped, "is encrypted")


def test_an_unusual_method_is_refused(zipped: Path) -> None:
    assert_refused(write(zipped, method=zipfile.ZIP_LZMA), "unusual method")


def test_bombs_are_refused(zipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = ("zeros.pt", bytes(10_000_000))
    assert_refused(write(zipped, zeros, method=zipfile.ZIP_DEFLATED), "packed too tightly")
    assert_refused(write(zipped, zeros), "it holds 0.0 GB, expected at most 0.0 GB", most=10_000_000)
    monkeypatch.setattr(archive, "MOST_ENTRIES", 3)
    assert_refused(write(zipped, ("one.pt", b"too many")), "it has 4 entries, expected at most 3")


def test_overlapping_entries_are_refused(zipped: Path) -> None:
    """The directory claims twice what lies in the archive, as the bombs do that point many entries at one block."""
    content = bytearray(write(zipped).read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 20 : at + 28] = struct.pack("<II", 10**6, 10**6)
    zipped.write_bytes(content)
    assert_refused(zipped, "its entries overlap")


@pytest.mark.parametrize("claimed", [4000, 6000])
def test_a_wrong_size_is_damage(zipped: Path, claimed: int) -> None:
    content = bytearray(write(zipped, method=zipfile.ZIP_DEFLATED).read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", claimed)
    zipped.write_bytes(content)
    assert_refused(zipped, "is damaged")


def test_an_offset_outside_is_refused(zipped: Path) -> None:
    content = bytearray(write(zipped).read_bytes())
    at = content.index(b"PK\x05\x06")
    content[at + 16 : at + 20] = struct.pack("<I", len(content))
    zipped.write_bytes(content)
    assert_refused(zipped, "removed")


@pytest.mark.parametrize("damage", ["short", "changed", "garbage", "empty"])
def test_a_damaged_archive_is_removed(zipped: Path, damage: str) -> None:
    whole = write(zipped).read_bytes()
    changed = whole.replace(b"a" * 5000, b"a" * 4999 + b"x")
    zipped.write_bytes({"short": whole[:-30], "changed": changed, "garbage": b"<html>", "empty": b""}[damage])
    assert_refused(zipped, "is damaged, cut short or no zip archive")


def test_a_full_disk_keeps_the_archive(zipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(zipped)
    usage = shutil.disk_usage(zipped.parent)
    with monkeypatch.context() as patch:
        patch.setattr(archive.shutil, "disk_usage", lambda folder: usage._replace(free=5000))
        with pytest.raises(DownloadError, match=r"Not enough space.*contents of models.zip"):
            unpack(zipped, zipped.parent / "contents")

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(archive.shutil, "copyfileobj", full)
        with pytest.raises(DownloadError, match=r"No space left on device.*It is kept"):
            unpack(zipped, zipped.parent / "contents")
    assert list(zipped.parent.iterdir()) == [zipped]
    unpack(zipped, zipped.parent / "contents")


def test_no_mode_is_taken_over(zipped: Path) -> None:
    unpack(write(zipped, (entry("setuid.pt", stat.S_IFREG | 0o6777), b"x")), zipped.parent / "contents")
    assert (zipped.parent / "contents/setuid.pt").stat().st_mode & 0o7111 == 0


def test_an_archive_within_stays_one(zipped: Path, tmp_path: Path) -> None:
    inner = write(tmp_path / "inner.zip", (entry("../evil.pt"), b"evil")).read_bytes()
    unpack(write(zipped, ("inner.zip", inner)), zipped.parent / "contents")
    assert (zipped.parent / "contents/inner.zip").read_bytes() == inner and not list(tmp_path.rglob("evil*"))


def test_names_that_differ_in_case_never_overwrite(zipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a disk that takes them for one, where the second is what it was opened for: new."""
    opened = Path.open
    monkeypatch.setattr(
        archive.Path,
        "open",
        lambda self, *how: opened(self.with_name(self.name.lower()) if how == ("xb",) else self, *how),
    )
    assert_refused(write(zipped, ("SAR/UNET.pt", b"one"), ("SAR/unet.pt", b"two")), "an entry cannot be unpacked")


def test_a_disk_that_fills_up_keeps_the_archive_and_nothing_else(
    small_disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    zipped, contents = small_disk.folder / "models.zip", np.random.default_rng(0).bytes(2 * 10**6)
    with zipfile.ZipFile(zipped, "w") as made:
        made.writestr("a.pt", contents)
    small_disk.fill(leaving=10**6)
    with monkeypatch.context() as patch:
        patch.setattr(archive, "check_space", lambda *_: None)  # others fill the disk after it
        with pytest.raises(DownloadError, match=r"No space left on device; \d.\d MB free.*It is kept"):
            unpack(zipped, small_disk.folder / "contents")
    assert small_disk.left() == ["models.zip"]
    small_disk.empty()
    unpack(zipped, small_disk.folder / "contents")
    assert (small_disk.folder / "contents/a.pt").read_bytes() == contents
    assert small_disk.left() == ["contents/a.pt"]
