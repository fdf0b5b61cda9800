"""Mosaics: pixels as rasterio.merge has them, one map per coordinate system, and what is refused."""

import numpy as np
import pandas as pd
import pytest
import rasterio
from placed import read, table
from rasterio import Affine
from rasterio.merge import merge
from region import IDS, L3, REGION
from scenes import CERRADATA, write_raster

from cerraseg.core.errors import DataError
from cerraseg.mapping.map_files import write_coarser
from cerraseg.mapping.mosaic import mosaic

L1 = CERRADATA.classes("l1")


def numbered(count, side=8):
    """Tile i is all i."""
    return np.repeat(np.arange(count, dtype=np.uint8), side * side).reshape(count, side, side)


def merged(folder, patches, tiles):
    """What rasterio.merge makes of the same patches as files."""
    paths = []
    for patch, tile in zip(patches.itertuples(), tiles, strict=True):
        transform = Affine(*(getattr(patch, k) for k in "abcdef"))
        path = folder / f"{patch.id}.tif"
        paths.append(write_raster(path, tile[None], crs=patch.crs, transform=transform, nodata=255))
    values, transform = merge(paths)
    return values[0], transform


@pytest.fixture
def scattered():
    """60 patches of 40 x 24 pixels with overlaps, gaps and holes, across several chunks of 128 pixels."""
    random = np.random.default_rng(3)
    patches = table([(int(r), int(c)) for r, c in random.integers(-150, 150, (60, 2))])
    tiles = random.integers(0, 7, (60, 40, 24), dtype=np.uint8)
    tiles[random.random(tiles.shape) < 0.2] = 255
    return patches, tiles


@pytest.mark.parametrize("chunk", [16, 128, 2048])
def test_equals_rasterio_merge(tmp_path, scattered, monkeypatch, chunk):
    monkeypatch.setattr("cerraseg.mapping.map_files.CHUNK", chunk)
    monkeypatch.setattr("cerraseg.geo.cog.CHUNK", chunk)
    np.save(tmp_path / "tiles.npy", scattered[1])
    tiles = np.load(tmp_path / "tiles.npy", mmap_mode="r")
    (path,) = mosaic(scattered[0], tiles, tmp_path, name="map", classes=L1)
    (again,) = mosaic(*scattered, tmp_path / "again", name="map", classes=L1, threads=1)
    assert path.read_bytes() == again.read_bytes()
    expected, transform = merged(tmp_path, *scattered)
    assert path == tmp_path / "map_epsg32722.tif"
    assert (expected == 255).any() and len(np.unique(expected)) == 8
    np.testing.assert_array_equal(read(path), expected)
    with rasterio.open(path) as source:
        assert source.transform == transform and source.crs.to_epsg() == 32722 and source.nodata == 255


def test_one_map_per_coordinate_system(tmp_path):
    wkt = rasterio.crs.CRS.from_epsg(32723).to_wkt()
    local = rasterio.crs.CRS.from_proj4("+proj=laea +lat_0=-15 +lon_0=-47 +ellps=GRS80").to_wkt()
    patches = pd.concat([table([(0, 0)]), table([(0, 0)], "EPSG:32723"), table([(4, 8)], wkt), table([(0, 0)], local)])
    paths = mosaic(patches, numbered(4), tmp_path, name="map", classes=L1)
    assert [path.name for path in paths[:2]] == ["map_epsg32722.tif", "map_epsg32723.tif"]
    assert paths[2].name.startswith("map_crs") and len(paths[2].stem) == len("map_crs") + 8
    assert [read(path).shape for path in paths] == [(8, 8), (12, 16), (8, 8)]
    assert read(paths[1])[11, 15] == 2 and read(paths[1])[11, 0] == 255
    with rasterio.open(paths[2]) as source:
        assert source.crs == rasterio.crs.CRS.from_wkt(local)


def test_fractional_steps_go_to_the_nearest_pixel(tmp_path, caplog):
    caplog.set_level("INFO", "cerraseg")
    corners = [(128.25 * i, 128.03 * i) for i in range(5)]
    (path,) = mosaic(table(corners), numbered(5, 128), tmp_path, name="map", classes=L1)
    values = read(path)
    starts = [tuple(int(k[0]) for k in np.nonzero(values == i)) for i in range(5)]
    assert starts == [(0, 0), (128, 128), (257, 256), (385, 384), (513, 512)]
    assert values.shape == (641, 640)
    assert "4 of 5 patches lie off the pixel grid of patch p0, by up to 0.50 pixels" in caplog.text


def spoilt(column, value):
    patches = table([(0, 0), (0, 0), (0, 8)])
    patches[column] = [patches[column][0], value, patches[column][2]]
    return patches


@pytest.mark.parametrize(
    ("patches", "named"),
    [
        (spoilt("e", -10.02), "p1 has pixels of 10 x 10.02"),
        (spoilt("a", 10.02), "p1 has pixels of 10.02 x 10"),
        (table([(0, 0), (600_000, 600_000)]), "epsg32722 .*600008 x 600008"),
    ],
)
def test_patches_that_do_not_fit_are_refused(tmp_path, patches, named):
    with pytest.raises(DataError, match=named):
        mosaic(patches, numbered(len(patches)), tmp_path / "out", name="map", classes=L1)
    assert not (tmp_path / "out").exists()


def test_map_of_ids_with_gaps_and_those_of_two_coarser_levels(tmp_path):
    tiles = np.random.default_rng(4).integers(0, 5, (2, 8, 8), dtype=np.uint8)
    tiles[0, 0] = 255
    (path,) = mosaic(table([(0, 0), (0, 8)]), tiles, tmp_path, name="map", classes=L3)
    places = np.concatenate(list(tiles), axis=1)
    np.testing.assert_array_equal(read(path), np.append(IDS, [255] * 251)[places])
    coarse_ids = {"l1": [1, 1, 2, 2, 1], "l2": [40, 30, 20, 20, 30]}
    ancestors = REGION.ancestors("l3")
    assert list(ancestors) == list(coarse_ids)
    write_coarser(path, "l3", REGION, lambda level: tmp_path / f"{level}.tif", tags={"SOURCE": "x"}, threads=1)
    for level in ancestors:
        target = tmp_path / f"{level}.tif"
        np.testing.assert_array_equal(read(target), np.append(coarse_ids[level], [255] * 251)[places])
        with rasterio.open(path) as fine, rasterio.open(target) as coarse:
            assert (coarse.crs, coarse.transform, coarse.tags()["SOURCE"]) == (fine.crs, fine.transform, "x")
            names = {key: name for key, name in coarse.tags().items() if key.startswith("CLASS_")}
            assert names == {f"CLASS_{entry.id}": entry.name for entry in REGION.classes(level)}
