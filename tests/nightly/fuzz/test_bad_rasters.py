"""Rasters that are damaged, absurd or something else: refused in words, at once, without another file being opened."""

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
import rasterio
from cell import Cell, assert_no_fault, cells
from conftest import NAMES, PIXEL, patch_file, write_patch, write_tif
from hypothesis import given
from rasterio.transform import Affine

from cerraseg.core.taxonomy import MODALITIES
from cerraseg.data import index
from cerraseg.data import packed as store
from cerraseg.mapping import scene_check
from cerraseg.mapping.scene import SceneFiles

LAYERS = tuple(NAMES)
TRAINED = {band: {"mean": 2000.0, "std": 500.0, "min": 100.0, "max": 9000.0} for band in MODALITIES["msi"]}
UTM = {"crs": "EPSG:32722", "transform": Affine(10, 0, 600000, 0, -10, 8300000)}
NORTH_UP = Affine(PIXEL, 0, -47, 0, -PIXEL, -6)


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    yield from cells(tmp_path_factory, "test_bad_rasters")


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A folder with one patch, to be spoilt a file at a time."""
    root = tmp_path_factory.mktemp("good")
    write_patch(root, "42")
    return root


def inspected(root):
    """What the index says of the patch: nothing, or why it is left out."""
    out = root.parent / "index"
    index.write_patch_table([root], out / "table.parquet", out / "rejected.csv", max_rejected=0)
    return "taken"


def packed(root):
    """Pack a patch that was indexed before it was spoilt."""
    out = root.parent / "pack"
    names = (out / "images.npy", out / "masks.npy", out / "header.json")
    store.pack(root.parent / "table.parquet", *names)
    return "taken"


def surveyed(msi, reference=None):
    """Look at a scene as the rule ``scene`` does."""
    folder = msi.parent / "scene"
    files = SceneFiles("odd", msi)
    grid = scene_check.survey(files, "msi", TRAINED, folder / "scene.json", resampling="bilinear", scale=False)
    scene_check.write_picture(files, folder / "image.tif", tags={})
    if reference:
        scene_check.write_reference("odd", reference, "l1", grid, folder, tags={}, threads=1)
    return grid.shape


def write_scene(path, array, *, descriptions=(), **profile):
    """A raster of any place; None where not even GDAL writes it."""
    count, height, width = array.shape
    size = {"count": count, "height": height, "width": width, "dtype": array.dtype}
    try:
        with rasterio.open(path, "w", driver="GTiff", **size, **{**UTM, **profile}) as file:
            file.write(array)
            file.descriptions = descriptions or [None] * count
    except Exception:
        return None
    return path


def msi(height, width):
    """Values around those of training."""
    return np.random.default_rng(0).uniform(1000, 3000, (12, height, width)).astype(np.float32)


def spoil(path, content):
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def damaged(data, content):
    """Bytes cut short at any place, or with a few others: in the header and directory mostly, else anywhere."""
    if data.draw(st.booleans(), "cut"):
        return content[: data.draw(st.integers(0, len(content) - 1), "length")]
    changed = bytearray(content)
    directory = int.from_bytes(content[4:8], "little")
    places = st.one_of(
        st.integers(0, 15),
        st.integers(directory, min(directory + 400, len(content) - 1)),
        st.integers(0, len(content) - 1),
    )
    for place in data.draw(st.lists(places, min_size=1, max_size=8), "places"):
        changed[place] = data.draw(st.integers(0, 255), "byte")
    return bytes(changed)


@contextmanager
def damaged_patch(good: Path, layer: str, data: st.DataObject) -> Iterator[None]:
    """A patch with one file damaged, until the block ends."""
    path = patch_file(good, layer, "42")
    whole = path.read_bytes()
    spoil(path, damaged(data, whole))
    try:
        yield
    finally:
        spoil(path, whole)


@given(layer=st.sampled_from(LAYERS), data=st.data())
def test_damaged_patches_are_left_out_with_a_reason(cell: Cell, good: Path, layer: str, data: st.DataObject) -> None:
    with damaged_patch(good, layer, data):
        assert_no_fault(cell.run(inspected, good))


@given(layer=st.sampled_from(LAYERS), data=st.data())
def test_patches_damaged_after_the_index_stop_the_pack(cell: Cell, good: Path, layer: str, data: st.DataObject) -> None:
    table = good.parent / "table.parquet"
    if not table.exists():
        index.write_patch_table([good], table, good.parent / "rejected.csv")
    with damaged_patch(good, layer, data):
        assert_no_fault(cell.run(packed, good))
    assert list((good.parent / "pack").glob(".*")) == []


numbers = st.one_of(st.floats(), st.sampled_from([0.0, 1.0, PIXEL, -PIXEL, 1e-300, 1e300]))


@given(
    layer=st.sampled_from(LAYERS),
    dtype=st.sampled_from(
        ["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "float32", "float64", "complex64"]
    ),
    shape=st.tuples(st.integers(1, 15), st.sampled_from([1, 127, 128, 129]), st.sampled_from([1, 128, 300])),
    fill=st.one_of(numbers, st.sampled_from([7, 14, 254, 255, 256, -1, 3.5, 1e39])),
    crs=st.sampled_from(["EPSG:4326", "EPSG:32722", None, 'LOCAL_CS["nowhere"]', "+proj=ob_tran +o_proj=moll"]),
    transform=st.one_of(st.just(NORTH_UP), st.builds(Affine, *[numbers] * 6)),
    right=st.booleans(),
)
def test_absurd_patches_are_left_out_with_a_reason(
    cell: Cell, good: Path, layer, dtype, shape, fill, crs, transform, right
) -> None:
    path = patch_file(good, layer, "42")
    whole = path.read_bytes()
    shape = (len(MODALITIES.get(layer, "x")), 128, 128) if right else shape
    with np.errstate(all="ignore"):
        pixels = np.full(shape, fill).astype(dtype)
    written = write_scene(path, pixels, crs=crs, transform=transform)
    try:
        outcome = assert_no_fault(cell.run(inspected, good))
        if written and outcome.kind == "taken" and layer in ("l1", "l2"):
            assert set(np.unique(pixels).tolist()) <= {*range({"l1": 7, "l2": 14}[layer]), 255}
    finally:
        spoil(path, whole)


def tiff(
    width: int, height: int, *, tile: tuple[int, int] | None = None, compression: int = 1, data: bytes = b""
) -> bytes:
    """A GeoTIFF of one uint8 band written by hand: what it declares need not be what it holds."""
    head, georeference = 8, struct.pack("<9d", PIXEL, PIXEL, 0, 0, 0, 0, -47, -6, 0)
    keys = struct.pack("<12H", 1, 1, 0, 2, 1024, 0, 1, 2, 2048, 0, 1, 4326)
    at = head + len(data)
    fields = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, compression), (262, 3, 1, 1)]
    fields += [(277, 3, 1, 1), (33550, 12, 3, at), (33922, 12, 6, at + 24 - 0), (34735, 3, 12, at + 72)]
    if tile:
        fields += [(322, 4, 1, tile[0]), (323, 4, 1, tile[1]), (324, 4, 1, head), (325, 4, 1, len(data))]
    else:
        fields += [(273, 4, 1, head), (278, 4, 1, height), (279, 4, 1, len(data))]
    where = at + 72 + len(keys)
    entries = b"".join(struct.pack("<HHII", *field) for field in sorted(fields))
    body = data + georeference + keys + struct.pack("<H", len(fields)) + entries + b"\0\0\0\0"
    return struct.pack("<2sHI", b"II", 42, where) + body


ZEROS = zlib.compress(bytes(10**8), 9)
BOMBS = {
    "a side of a million pixels": tiff(1 << 20, 1 << 20),
    "one strip of a gigabyte": tiff(1 << 15, 1 << 15, compression=8, data=ZEROS),
    "a tile of sixteen gigabytes": tiff(128, 128, tile=(1 << 17, 1 << 17), compression=8, data=ZEROS),
    "four billion columns": tiff(0xFFFFFFFF, 1),
    "no rows": tiff(128, 0),
}


@pytest.mark.parametrize("what", BOMBS)
def test_bombs_are_refused_before_they_are_read(cell: Cell, good: Path, tmp_path: Path, what: str) -> None:
    path = patch_file(good, "l1", "42")
    whole = path.read_bytes()
    spoil(path, BOMBS[what])
    try:
        assert assert_no_fault(cell.run(inspected, good)).kind == "refused"
    finally:
        spoil(path, whole)
    (tmp_path / "scene.tif").write_bytes(BOMBS[what])
    assert assert_no_fault(cell.run(surveyed, tmp_path / "scene.tif")).kind == "refused"


VRT = """<VRTDataset rasterXSize="128" rasterYSize="128"><SRS>EPSG:4326</SRS>
<GeoTransform>-47, {pixel}, 0, -6, 0, -{pixel}</GeoTransform>{bands}</VRTDataset>"""
BAND = """<VRTRasterBand dataType="Byte" band="{band}"><Description>{name}</Description><SimpleSource>
<SourceFilename relativeToVRT="0">{source}</SourceFilename></SimpleSource></VRTRasterBand>"""


def vrt(source, names=("",)):
    bands = "".join(BAND.format(band=place, name=name, source=source) for place, name in enumerate(names, 1))
    return VRT.format(pixel=PIXEL, bands=bands).encode()


def stand_ins(secret):
    """Content of a file called .tif that is none: what GDAL would open for it."""
    return {
        "a VRT of another file": vrt(secret),
        "a VRT of an address": vrt("/vsicurl/http://127.0.0.1:9/secret.tif"),
        "a web map service": b"<GDAL_WMS><Service name='TMS'><ServerUrl>http://127.0.0.1:9/</ServerUrl></Service></GDAL_WMS>",
        "a tile index": b"<GDALTileIndexDataset><IndexDataset>/etc/passwd</IndexDataset></GDALTileIndexDataset>",
        "text": b"no raster",
        "PNG": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "HDF": b"\x89HDF\r\n\x1a\n" + bytes(1000),
        "nothing": b"",
        "a TIFF's first four bytes": b"II*\0",
        "a BigTIFF's header": b"II+\0\x08\0\0\0" + b"\xff" * 8,
        "a directory that leads to itself": b"II*\0\x08\0\0\0\0\0\x08\0\0\0",
    }


@pytest.mark.parametrize("what", stand_ins(""))
def test_what_is_called_tif_is_opened_as_tif(cell: Cell, good: Path, tmp_path: Path, what: str) -> None:
    secret = tmp_path / "secret.tif"
    write_tif(secret, np.ones((1, 128, 128), np.uint8))
    content = stand_ins(secret)[what]
    path = patch_file(good, "l1", "42")
    whole = path.read_bytes()
    spoil(path, content)
    try:
        told = assert_no_fault(cell.run(inspected, good))
    finally:
        spoil(path, whole)
    assert told.kind == "refused" and "cannot be read" in told.told
    odd = tmp_path / "odd.tif"
    odd.write_bytes(content)
    told = assert_no_fault(cell.run(surveyed, odd))
    assert told.kind == "refused" and "cannot be opened" in told.told


def test_folders_pipes_and_loops_are_no_rasters(cell: Cell, good: Path) -> None:
    path = patch_file(good, "l1", "42")
    whole = path.read_bytes()
    makers = (Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path), lambda path: path.symlink_to("/dev/zero"))
    for make, remove in zip(makers, (Path.rmdir, *[Path.unlink] * 3), strict=True):
        path.unlink()
        make(path)
        try:
            for run in (inspected, packed) if (good.parent / "table.parquet").exists() else (inspected,):
                told = assert_no_fault(cell.run(run, good))
                assert told.kind == "refused" and "a folder, a pipe or a device" in told.told
        finally:
            remove(path)
            path.write_bytes(whole)


def test_a_vrt_of_a_scene_is_one_by_its_name(cell: Cell, tmp_path: Path) -> None:
    bands = MODALITIES["msi"]
    write_tif(tmp_path / "b.tif", np.ones((1, 128, 128), np.uint8))
    (tmp_path / "scene.vrt").write_bytes(vrt(tmp_path / "b.tif", bands))
    assert cell.run(surveyed, tmp_path / "scene.vrt").kind == "taken"


@pytest.mark.parametrize("form", ["/vsicurl/http://{}/b.tif", "http://{}/b.tif", "WMS:http://{}/b"])
@pytest.mark.parametrize("name", ["far.vrt", "near.tif.msk"])
def test_no_scene_leads_to_the_network(cell: Cell, tmp_path: Path, form: str, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        address = form.format(f"127.0.0.1:{server.getsockname()[1]}")
        (tmp_path / name).write_bytes(vrt(address, MODALITIES["msi"]))
        if name == "near.tif.msk":
            write_scene(tmp_path / "near.tif", msi(128, 128), descriptions=MODALITIES["msi"])
        told = assert_no_fault(cell.run(surveyed, tmp_path / name.removesuffix(".msk")))
        assert told.kind == "refused" or name == "near.tif.msk"
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A scene of 12 bands in tiles, compressed, with no-data; and a mask of it."""
    folder = tmp_path_factory.mktemp("image")
    write_scene(folder / "msi.tif", msi(70, 90), descriptions=MODALITIES["msi"], nodata=0, compress="deflate")
    write_scene(folder / "mask.tif", np.full((1, 70, 90), 3, np.uint8), nodata=255)
    return folder


@given(name=st.sampled_from(["msi.tif", "mask.tif"]), data=st.data())
def test_damaged_scenes_are_refused(cell: Cell, image: Path, name: str, data: st.DataObject) -> None:
    path = image / name
    whole = path.read_bytes()
    spoil(path, damaged(data, whole))
    try:
        assert_no_fault(cell.run(surveyed, image / "msi.tif", image / "mask.tif"))
    finally:
        spoil(path, whole)
