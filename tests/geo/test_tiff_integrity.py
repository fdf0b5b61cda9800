"""A GeoTIFF that lacks any of its end is told from a whole one, and no map is written that is not whole."""

import struct

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from cerraseg.core.errors import StorageError
from cerraseg.geo.cog import new_map
from cerraseg.geo.tiff_integrity import is_whole, written

PIXELS = np.random.default_rng(0).integers(0, 100, (640, 600), np.uint8)
PLACE = {"crs": "EPSG:32722", "transform": from_origin(600000, 8300000, 10, 10)}


def write_map(path, tag=""):
    """Four blocks and an overview, with metadata that lies at the end of what GDAL writes first."""
    with new_map(path, shape=PIXELS.shape, **PLACE, classes=None, tags={"TAG": tag}, threads=1) as draft:
        draft.write(0, 0, PIXELS)


@pytest.mark.parametrize("big", ["NO", "YES"])
@pytest.mark.parametrize("storage", [{"tiled": True}, {"tiled": False}, {"tiled": True, "sparse_ok": True}])
def test_every_cut_is_noticed(big, storage, tmp_path):
    """Where the file ends with its blocks; a cut of bytes that belong to none is none."""
    whole = tmp_path / "whole.tif"
    size = {"height": 300, "width": 280, "count": 2, "dtype": "uint8"}
    with rasterio.open(whole, "w", driver="GTiff", **size, **PLACE, **storage, bigtiff=big, compress="deflate") as file:
        file.write(PIXELS[:300, :280], 1)
        file.write(PIXELS[:300, :280], 2) if "sparse_ok" not in storage else None
    content = whole.read_bytes()
    assert is_whole(whole)
    for end in [0, 3, 8, 20, 200, *range(1000, len(content), len(content) // 30), len(content) - 1]:
        cut = tmp_path / "cut.tif"
        cut.write_bytes(content[:end])
        assert not is_whole(cut), end


def directory(*entries, following=0):
    """A TIFF of one directory with these (tag, number of values, value), and the place of the next."""
    packed = b"".join(struct.pack("<HHLL", tag, 4, count, value) for tag, count, value in entries)
    return b"II*\0" + struct.pack("<LH", 8, len(entries)) + packed + struct.pack("<L", following)


def test_lists_that_make_no_sense_are_those_of_no_whole_file(tmp_path):
    """A full disk can leave zeros or an older file's bytes in their place; atheris found them."""
    absurd = {
        "no blocks": directory(),
        "no end": directory((273, 1, 8), (279, 1, 4), following=8),
        "more than memory holds": directory((273, 2**32 - 1, 8), (279, 1, 4)),
        "no place in a file": b"II+\0\10\0\0\0" + bytes([255]) * 8,
    }
    (tmp_path / "map.tif").write_bytes(directory((273, 1, 8), (279, 1, 4)))
    assert is_whole(tmp_path / "map.tif")
    for what, content in absurd.items():
        (tmp_path / "map.tif").write_bytes(content)
        assert not is_whole(tmp_path / "map.tif"), what


def test_map_is_whole_and_cut_at_its_end_it_is_not(tmp_path):
    write_map(tmp_path / "map.tif")
    assert is_whole(tmp_path / "map.tif")
    content = (tmp_path / "map.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(content[:-1000])
    assert not is_whole(tmp_path / "cut.tif")


def test_block_that_ends_with_a_short_file_is_an_error(tmp_path):
    write_map(tmp_path / "map.tif")
    with pytest.raises(OSError, match="GDAL could not write all of it"), written(tmp_path / "map.tif"):
        (tmp_path / "map.tif").write_bytes((tmp_path / "map.tif").read_bytes()[:-1000])


@pytest.mark.drill
def test_map_on_a_disk_that_fills_up_anywhere_is_whole_or_absent(small_disk):
    """Without the check, GDAL 3.10 leaves 31 of these 400 cut short and says nothing."""
    path, outcomes = small_disk.folder / "map.tif", set()
    for free in range(0, 3_000_000, 16 * 4096):
        small_disk.fill(leaving=free)
        try:
            write_map(path, "x" * 5000)
        except StorageError as error:
            assert "is full" in str(error)
            assert small_disk.left() == []
            outcomes.add("absent")
        else:
            with rasterio.open(path) as file:
                np.testing.assert_array_equal(file.read(1), PIXELS)
                assert file.overviews(1) == [2] and file.tags()["TAG"] == "x" * 5000
            path.unlink()
            outcomes.add("whole")
        small_disk.empty()
    assert outcomes == {"absent", "whole"}
