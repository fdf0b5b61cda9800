"""Rasters that are damaged, absurd or something else: refused in words, at once, without another file being opened."""

import functools
import os
import socket
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from cell import Cell, assert_no_fault, cells
from conftest import NAMES, PIXEL, arrays, patch_file, write_patch, write_tif
from hypothesis import given
from scenes import CERRADATA, TRAINED, pixels, scene_files, write_raster

from cerraseg.data import index
from cerraseg.data.pack import pack
from cerraseg.mapping import scene_check

cell = pytest.fixture(cells, scope="module")


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A folder with one patch, to be spoilt a file at a time, and its table beside it."""
    root = tmp_path_factory.mktemp("good") / "patches"
    write_patch(root, "42")
    index.write_patch_table([root], CERRADATA, root.parent / "table.parquet", root.parent / "rejected.csv")
    return root


def inspected(root):
    """Index the patch: it is taken, or the reason why not is raised."""
    out = root.parent / "index"
    index.write_patch_table([root], CERRADATA, out / "table.parquet", out / "rejected.csv", max_rejected=0)


def packed(root):
    """Pack a patch that was indexed before it was spoilt."""
    pack(root.parent / "table.parquet", CERRADATA, *arrays(root.parent / "pack"))


def surveyed(msi, reference=None):
    """Look at a scene as the rule ``scene`` does."""
    folder, files, sensors = msi.parent / "scene", scene_files(msi=msi), CERRADATA.sensors_of("msi")
    grid = scene_check.survey(files, sensors, TRAINED, folder / "scene.json", resampling="bilinear", scale=False)
    scene_check.write_picture(files, CERRADATA, folder / "image.tif", tags={})
    if reference:
        scene_check.write_reference("odd", reference, "l1", CERRADATA, grid, folder, tags={}, threads=1)


@contextmanager
def spoilt(path: Path, content: bytes = b"") -> Iterator[None]:
    """Another content of a file, until the block ends."""
    whole = path.read_bytes()
    path.write_bytes(content)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        path.write_bytes(whole)


def damaged(data, content):
    """Bytes cut short at any place, or with a few others: in the header and directory mostly, else anywhere."""
    if data.draw(st.booleans(), "cut"):
        return content[: data.draw(st.integers(0, len(content) - 1), "length")]
    changed, directory = bytearray(content), int.from_bytes(content[4:8], "little")
    ends = ((0, 15), (directory, min(directory + 400, len(content) - 1)), (0, len(content) - 1))
    places = st.one_of(*(st.integers(*end) for end in ends))
    for place in data.draw(st.lists(places, min_size=1, max_size=8), "places"):
        changed[place] = data.draw(st.integers(0, 255), "byte")
    return bytes(changed)


@given(layer=st.sampled_from(list(NAMES)), run=st.sampled_from([inspected, packed]), data=st.data())
def test_damaged_patches_are_left_out_with_a_reason(cell: Cell, good: Path, layer: str, run, data) -> None:
    path = patch_file(good, layer, "42")
    with spoilt(path, damaged(data, path.read_bytes())):
        assert_no_fault(cell.run(run, good))
    assert list((good.parent / "pack").glob(".*")) == []


def tiff(width: int, height: int, *, tile: int = 0, compression: int = 1, data: bytes = b"") -> bytes:
    """A GeoTIFF of one uint8 band written by hand: what it declares need not be what it holds."""
    head, georeference = 8, struct.pack("<9d", PIXEL, PIXEL, 0, 0, 0, 0, -47, -6, 0)
    keys = struct.pack("<12H", 1, 1, 0, 2, 1024, 0, 1, 2, 2048, 0, 1, 4326)
    at = head + len(data)
    fields = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, compression), (262, 3, 1, 1)]
    fields += [(277, 3, 1, 1), (33550, 12, 3, at), (33922, 12, 6, at + 24), (34735, 3, 12, at + 72)]
    if tile:
        fields += [(322, 4, 1, tile), (323, 4, 1, tile), (324, 4, 1, head), (325, 4, 1, len(data))]
    else:
        fields += [(273, 4, 1, head), (278, 4, 1, height), (279, 4, 1, len(data))]
    entries = b"".join(struct.pack("<HHII", *field) for field in sorted(fields))
    directory = struct.pack("<H", len(fields)) + entries + bytes(4)
    return struct.pack("<2sHI", b"II", 42, at + 72 + len(keys)) + data + georeference + keys + directory


def refused(cell: Cell, good: Path, content: bytes) -> bool:
    """Whether a file is refused as a layer of a patch and as a scene."""
    with spoilt(patch_file(good, "l1", "42"), content):
        patch = assert_no_fault(cell.run(inspected, good))
    (good.parent / "odd.tif").write_bytes(content)
    return {patch.kind, assert_no_fault(cell.run(surveyed, good.parent / "odd.tif")).kind} == {"refused"}


ZEROS = zlib.compress(bytes(10**8), 9)
BOMBS = {
    "a side of a million pixels": tiff(1 << 20, 1 << 20),
    "one strip of a gigabyte": tiff(1 << 15, 1 << 15, compression=8, data=ZEROS),
    "a tile of sixteen gigabytes": tiff(128, 128, tile=1 << 17, compression=8, data=ZEROS),
    "four billion columns": tiff(0xFFFFFFFF, 1),
    "no rows": tiff(128, 0),
}


@pytest.mark.parametrize("what", BOMBS)
def test_bombs_are_refused_before_they_are_read(cell: Cell, good: Path, what: str) -> None:
    assert refused(cell, good, BOMBS[what])


def vrt(source, names=("",)):
    band = (
        '<VRTRasterBand dataType="Byte" band="{}"><Description>{}</Description><SimpleSource>'
        '<SourceFilename relativeToVRT="0">{}</SourceFilename></SimpleSource></VRTRasterBand>'
    )
    bands = "".join(band.format(place, name, source) for place, name in enumerate(names, 1))
    place = f"<SRS>EPSG:4326</SRS><GeoTransform>-47, {PIXEL}, 0, -6, 0, -{PIXEL}</GeoTransform>"
    return f'<VRTDataset rasterXSize="128" rasterYSize="128">{place}{bands}</VRTDataset>'.encode()


STAND_INS = {
    "a VRT of another file": vrt("{secret}"),
    "a VRT of an address": vrt("/vsicurl/http://127.0.0.1:9/secret.tif"),
    "a web map service": b"<GDAL_WMS><Service name='TMS'><ServerUrl>http://127.0.0.1:9/</ServerUrl></Service></GDAL_WMS>",
    "a tile index": b"<GDALTileIndexDataset><IndexDataset>/etc/passwd</IndexDataset></GDALTileIndexDataset>",
    "text": b"no raster",
    "PNG": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "HDF": b"\x89HDF\r\n\x1a\n" + bytes(1000),
    "nothing": b"",
    "a BigTIFF's header": b"II+\0\x08\0\0\0" + b"\xff" * 8,
    "a directory that leads to itself": b"II*\0\x08\0\0\0\0\0\x08\0\0\0",
}


@pytest.mark.parametrize("what", STAND_INS)
def test_what_is_called_tif_is_opened_as_tif(cell: Cell, good: Path, tmp_path: Path, what: str) -> None:
    secret = tmp_path / "secret.tif"
    write_tif(secret, np.ones((1, 128, 128), np.uint8))
    assert refused(cell, good, STAND_INS[what].replace(b"{secret}", str(secret).encode()))


@pytest.mark.parametrize("run", [inspected, packed])
def test_folders_pipes_and_loops_are_no_rasters(cell: Cell, good: Path, run) -> None:
    path = patch_file(good, "l1", "42")
    loop, endless = (functools.partial(os.symlink, target) for target in (path, "/dev/zero"))
    with spoilt(path):
        for make in (os.mkfifo, loop, endless, os.mkdir):
            path.unlink()
            make(path)
            assert cell.run(run, good).kind == "refused"
        path.rmdir()


def test_a_vrt_of_a_scene_is_one_by_its_name(cell: Cell, tmp_path: Path) -> None:
    write_tif(tmp_path / "b.tif", np.ones((1, 128, 128), np.uint8))
    (tmp_path / "scene.vrt").write_bytes(vrt(tmp_path / "b.tif", CERRADATA.bands("msi")))
    assert cell.run(surveyed, tmp_path / "scene.vrt").kind == "taken"


@pytest.mark.parametrize("form", ["/vsicurl/http://{}/b.tif", "http://{}/b.tif", "WMS:http://{}/b"])
@pytest.mark.parametrize("name", ["far.vrt", "near.tif.msk"])
def test_no_scene_leads_to_the_network(cell: Cell, tmp_path: Path, form: str, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        address = form.format(f"127.0.0.1:{server.getsockname()[1]}")
        (tmp_path / name).write_bytes(vrt(address, CERRADATA.bands("msi")))
        if name == "near.tif.msk":
            write_raster(tmp_path / "near.tif", pixels("msi", 128, 128), CERRADATA.bands("msi"))
        told = assert_no_fault(cell.run(surveyed, tmp_path / name.removesuffix(".msk")))
        assert told.kind == "refused" or name == "near.tif.msk"
        with pytest.raises(BlockingIOError):
            server.accept()


@given(name=st.sampled_from(["msi.tif", "mask.tif"]), data=st.data())
def test_damaged_scenes_are_refused(cell: Cell, tmp_path_factory, name: str, data: st.DataObject) -> None:
    folder = tmp_path_factory.getbasetemp() / "image"
    if not folder.exists():
        write_raster(folder / "msi.tif", pixels("msi", 70, 90), CERRADATA.bands("msi"), nodata=0, compress="deflate")
        write_raster(folder / "mask.tif", np.full((1, 70, 90), 3, np.uint8), nodata=255)
    with spoilt(folder / name, damaged(data, (folder / name).read_bytes())):
        assert_no_fault(cell.run(surveyed, folder / "msi.tif", folder / "mask.tif"))
