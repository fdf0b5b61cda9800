"""Zips from the network that are damaged or absurd: all or nothing, and the archive goes."""

import io
import struct
import zipfile
from pathlib import Path

import hypothesis.strategies as st
import pytest
from cell import Cell, assert_no_fault, cells
from hypothesis import given

from cerraseg.data import archive
from cerraseg.data.archive import unpack


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    yield from cells(tmp_path_factory, "test_bad_archives", megabytes=300)


@pytest.fixture
def zipped(tmp_path: Path) -> Path:
    return tmp_path / "models.zip"


def made(*entries, method=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as opened:
        for name, content in entries:
            opened.writestr(name, content)
    return buffer.getvalue()


GOOD = made(("msi/a.pt", bytes(range(256)) * 40), ("sar/", b""), ("sar/b.pt", b"b" * 500))


def whole_or_absent(path):
    """Whether an archive became its folder, which holds all entries, or left nothing."""
    folder = path.with_suffix("")
    try:
        unpack(path, folder, most=10**8)
    except Exception:
        assert not folder.exists() and not path.exists(), "something is left"
        raise
    return sorted(str(found.relative_to(folder)) for found in folder.rglob("*") if found.is_file())


def removed(path):
    folder = path.with_suffix("")
    for found in sorted(folder.rglob("*"), reverse=True):
        found.rmdir() if found.is_dir() else found.unlink()
    if folder.exists():
        folder.rmdir()


@given(data=st.data())
def test_damaged_archives_become_all_or_nothing(cell: Cell, tmp_path_factory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.zip"
    changed = bytearray(GOOD)
    places = st.one_of(st.integers(0, len(GOOD) - 1), st.integers(len(GOOD) - 250, len(GOOD) - 1))
    for where in data.draw(st.lists(places, min_size=1, max_size=6)):
        changed[where] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.just(len(changed)), st.integers(0, len(changed))))
    path.write_bytes(changed[:cut])
    assert_no_fault(cell.run(whole_or_absent, path))
    removed(path)


names = st.one_of(
    st.text(min_size=1, max_size=12),
    st.sampled_from(
        [
            "a",
            "A",
            "a/",
            "a/b",
            "./a",
            "a//b",
            " ",
            "nul",
            "-rf",
            "a\\b",
            "e\u0301",
            "\u00e9",
            "\u202ea",
            "x" * 300,
            "/".join("y" * 60),
        ]
    ),
    st.text("ab/.-_ ", min_size=1, max_size=20),
)


@given(entries=st.lists(st.tuples(names, st.binary(max_size=20)), max_size=5))
def test_any_names_become_all_or_nothing(cell: Cell, tmp_path_factory, entries) -> None:
    path = tmp_path_factory.getbasetemp() / "names.zip"
    try:
        path.write_bytes(made(*entries))
    except (UnicodeEncodeError, struct.error, IndexError):
        return  # no zip holds such a name
    assert_no_fault(cell.run(whole_or_absent, path))
    removed(path)


def spoilt(content, **fields):
    """Other numbers in the central directory's first entry."""
    offsets = {"flags": (8, "<H"), "method": (10, "<H"), "crc": (16, "<I"), "packed": (20, "<I"), "size": (24, "<I")}
    changed, start = bytearray(content), content.index(b"PK\1\2")
    for field, value in fields.items():
        offset, form = offsets[field]
        struct.pack_into(form, changed, start + offset, value)
    return bytes(changed)


ODD = {
    "is damaged": (
        spoilt(GOOD, crc=1),
        GOOD[:-30],
        GOOD[: len(GOOD) // 2],
        b"",
        b"PK",
        b"<html>",
        bytes(range(1, 255)) * 4,
    ),
    "is refused": (
        spoilt(GOOD, flags=1),
        spoilt(GOOD, method=99),
        spoilt(GOOD, method=14),
        spoilt(GOOD, size=2**32 - 2),
        made(("a", bytes(50_000_000))),
        made(*[(f"{k}", bytes(10**6)) for k in range(150)]),
    ),
}


@pytest.mark.parametrize(
    ("why", "content"), [(why, content) for why, all_ in ODD.items() for content in all_], ids=range(13)
)
def test_what_is_no_good_archive_is_removed(cell: Cell, zipped: Path, why: str, content: bytes) -> None:
    zipped.write_bytes(content)
    outcome = cell.run(whole_or_absent, zipped)
    assert outcome.kind == "refused" and why in outcome.told


def test_an_archive_of_too_many_entries_is_refused_unopened(cell: Cell, zipped: Path) -> None:
    """An empty entry takes a hundred bytes of the file: what they cost to list is bounded by the download's size."""
    with zipfile.ZipFile(zipped, "w") as opened:
        for number in range(70_000):  # more than 16 bits count
            opened.writestr(f"{number}", b"")
    content = zipped.read_bytes()
    assert cell.run(listed, zipped).told == "70000"
    zipped.write_bytes(content)
    outcome = cell.run(limited, zipped)
    assert outcome.kind == "refused" and "70,000 entries" in outcome.told


def listed(path):
    return len(zipfile.ZipFile(path).infolist())


def limited(path):
    archive.MOST_ENTRIES = 65_535
    unpack(path, path.with_suffix(""))
