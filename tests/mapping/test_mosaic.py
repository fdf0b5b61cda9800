import os
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.merge import merge
from rio_cogeo import cog_validate

from cerraseg.core.errors import DataError
from cerraseg.core.taxonomy import LEVELS
from cerraseg.geo import cog
from cerraseg.mapping.mosaic import mosaic

L1, UTM = LEVELS["l1"], "EPSG:32722"
Tiles = NDArray[np.uint8]


def table(corners: Sequence[tuple[float, float]], crs: str = UTM, pixel: float = 10.0) -> pd.DataFrame:
    """Patches whose upper-left corners lie ``corners`` (row, column) pixels down and right of an origin."""
    rows = [
        (f"p{i}", crs, pixel, 0.0, 500_000 + c * pixel, 0.0, -pixel, 8e6 - r * pixel)
        for i, (r, c) in enumerate(corners)
    ]
    return pd.DataFrame(rows, columns=["id", "crs", *"abcdef"])


def numbered(count: int, side: int = 8) -> Tiles:
    """Tile i is all i."""
    return np.repeat(np.arange(count, dtype=np.uint8), side * side).reshape(count, side, side)


def read(path: Path) -> Tiles:
    with rasterio.open(path) as source:
        values: Tiles = source.read(1)
    return values


def merged(folder: Path, patches: pd.DataFrame, tiles: Tiles) -> tuple[Tiles, Affine]:
    """What rasterio.merge makes of the same patches as files."""
    paths = []
    for patch, tile in zip(patches.itertuples(), tiles, strict=True):
        path = folder / f"{patch.id}.tif"
        transform = Affine(*(getattr(patch, k) for k in "abcdef"))
        height, width = tile.shape
        options = {"driver": "GTiff", "height": height, "width": width, "count": 1, "dtype": "uint8", "nodata": 255}
        with rasterio.open(path, "w", crs=patch.crs, transform=transform, **options) as out:
            out.write(tile, 1)
        paths.append(path)
    values, transform = merge(paths)
    return values[0], transform


@pytest.fixture
def scattered() -> tuple[pd.DataFrame, Tiles]:
    """60 patches of 40 x 24 pixels with overlaps, gaps and holes, across several chunks of 128 pixels."""
    random = np.random.default_rng(3)
    patches = table([(int(r), int(c)) for r, c in random.integers(-150, 150, (60, 2))])
    tiles = random.integers(0, 7, (60, 40, 24), dtype=np.uint8)
    tiles[random.random(tiles.shape) < 0.2] = 255
    return patches, tiles


@pytest.mark.parametrize("chunk", [16, 128, 2048])
def test_equals_rasterio_merge(
    tmp_path: Path, scattered: tuple[pd.DataFrame, Tiles], monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr("cerraseg.mapping.mosaic.CHUNK", chunk)
    monkeypatch.setattr("cerraseg.geo.cog.CHUNK", chunk)
    (path,) = mosaic(*scattered, tmp_path, name="map", classes=L1)
    expected, transform = merged(tmp_path, *scattered)
    assert path == tmp_path / "map_epsg32722.tif"
    assert (expected == 255).any() and len(np.unique(expected)) == 8
    np.testing.assert_array_equal(read(path), expected)
    with rasterio.open(path) as source:
        assert source.transform == transform and source.crs.to_epsg() == 32722 and source.nodata == 255


def test_first_patch_with_data_wins(tmp_path: Path) -> None:
    tiles = numbered(3)
    tiles[0, 2:4, 2:4] = 255
    tiles[1, 2, 2] = 255
    (path,) = mosaic(table([(0, 0), (0, 0), (0, 0)]), tiles, tmp_path, name="map", classes=L1)
    assert read(path)[1:5, 1:5].tolist() == [[0, 0, 0, 0], [0, 2, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]


def test_one_map_per_coordinate_system(tmp_path: Path) -> None:
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


def test_fractional_steps_go_to_the_nearest_pixel(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "cerraseg")
    corners = [(128.25 * i, 128.03 * i) for i in range(5)]
    (path,) = mosaic(table(corners), numbered(5, 128), tmp_path, name="map", classes=L1)
    values = read(path)
    starts = [tuple(int(k[0]) for k in np.nonzero(values == i)) for i in range(5)]
    assert starts == [(0, 0), (128, 128), (257, 256), (385, 384), (513, 512)]
    assert values.shape == (641, 640)
    assert "4 of 5 patches lie off the pixel grid of patch p0, by up to 0.50 pixels" in caplog.text


def test_grid_is_the_first_patch_s_and_extent_the_union(tmp_path: Path) -> None:
    (path,) = mosaic(table([(0.4, 0.4), (-3, -5), (2, 2)]), numbered(3), tmp_path, name="map", classes=L1)
    with rasterio.open(path) as source:
        assert source.shape == (13, 15)
        assert source.transform.almost_equals(Affine(10, 0, 500_000 - 46, 0, -10, 8e6 + 26))


def test_file_is_a_complete_cloud_optimized_geotiff(tmp_path: Path) -> None:
    patches = table([(0, 0), (0, 700), (700, 0)])
    (path,) = mosaic(patches, numbered(3, 400), tmp_path, name="map", classes=L1, tags={"source": "simulated"})
    valid, errors, warnings = cog_validate(path, quiet=True)
    assert (valid, errors, warnings) == (True, [], [])
    with rasterio.open(path) as source:
        assert source.overviews(1) == [2, 4] and source.block_shapes == [(512, 512)]
        assert source.compression.name == "deflate" and source.descriptions == ("land cover",)
        assert source.colormap(1)[2] == (255, 215, 0, 255) and source.nodata == 255
        tags = source.tags()
    assert (tags["source"], tags["CLASS_0"], tags["CLASS_6"]) == ("simulated", "Pasture", "Other uses")
    assert tags["AREA_OR_POINT"] == "Area"
    with rasterio.open(path, overview_level=1) as source:
        smallest = source.read(1)
    assert smallest.shape == (275, 275)
    assert [smallest[50, 50], smallest[50, 250], smallest[250, 50], smallest[250, 250]] == [0, 1, 2, 255]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["map_epsg32722.tif", "map_epsg32722.tif.aux.xml"]


def test_sidecar_names_and_counts_the_classes(tmp_path: Path) -> None:
    (path,) = mosaic(table([(0, 0), (0, 8), (0, 10)]), numbered(3), tmp_path, name="map", classes=L1)
    band = ET.parse(f"{path}.aux.xml").find("PAMRasterBand")
    assert band is not None
    assert [c.text for c in band.iter("Category")] == [c.name for c in L1]
    usages = {f.findtext("Name"): (f.findtext("Type"), f.findtext("Usage")) for f in band.iter("FieldDefn")}
    assert usages["Value"] == ("0", "5") and usages["Class"] == ("2", "2") and usages["Red"] == ("0", "6")
    rows = [[f.text for f in row] for row in band.iter("Row")]
    assert rows[1] == ["1", "64", "Forest", "22", "152", "13"] and rows[2][1] == "16" and len(rows) == 7


@pytest.mark.skipif(shutil.which("gdalinfo") is None, reason="gdalinfo is not installed")
def test_gdal_reads_the_legend(tmp_path: Path) -> None:
    (path,) = mosaic(table([(0, 0)]), numbered(1, 600), tmp_path, name="map", classes=L1)
    info = subprocess.run(["gdalinfo", path], check=True, capture_output=True, text=True).stdout
    for expected in ("LAYOUT=COG", "0: Pasture", "2: 255,215,0,255", "GDALRasterAttributeTable", "Overviews: 300x300"):
        assert expected in info


def test_confidence_has_no_colours_and_averages(tmp_path: Path) -> None:
    tiles = np.full((1, 600, 600), 255, np.uint8)
    tiles[0, :, ::2] = 100
    tiles[0, ::2, 1::2] = 41
    stale = tmp_path / "confidence_epsg32722.tif.aux.xml"
    stale.write_text("<PAMDataset/>")
    (path,) = mosaic(table([(0, 0)]), tiles, tmp_path, name="confidence", classes=None)
    with rasterio.open(path) as source, pytest.raises(ValueError, match="color"):
        source.colormap(1)
    with rasterio.open(path, overview_level=0) as source:
        assert np.unique(source.read(1)).tolist() == [80]  # (100 + 41 + 100) / 3
    with rasterio.open(path) as source:
        assert source.descriptions == ("confidence (%)",) and source.units == ("%",) and source.nodata == 255
    assert not stale.exists() and cog_validate(path, quiet=True)[0]


def test_overviews_keep_the_majority(tmp_path: Path) -> None:
    tiles = np.full((1, 1100, 1100), 2, np.uint8)
    tiles[0, ::2, ::2] = 3  # one pixel in four
    (path,) = mosaic(table([(0, 0)]), tiles, tmp_path, name="map", classes=L1)
    with rasterio.open(path, overview_level=0) as source:
        assert np.unique(source.read(1)).tolist() == [2]


def test_majority_of_four_pixels() -> None:
    quads = {
        (1, 2, 2, 3): 2,
        (1, 2, 3, 3): 3,
        (3, 2, 1, 3): 3,
        (1, 2, 1, 2): 1,
        (4, 3, 2, 1): 4,
        (255, 255, 5, 6): 5,
        (255, 255, 255, 6): 6,
        (1, 255, 255, 255): 1,
        (1, 2, 255, 2): 2,
        (255, 255, 255, 255): 255,
    }
    level = np.concatenate([np.array(q, np.uint8).reshape(2, 2) for q in quads], axis=1)
    assert cog.majority_of_four(level)[0].tolist() == list(quads.values())
    assert cog.majority_of_four(np.array([[1, 1, 7]], np.uint8)).tolist() == [[1, 7]]


def test_overviews_of_a_wide_map_with_odd_sides(tmp_path: Path) -> None:
    (path,) = mosaic(table([(0, 0), (333, 9000)]), numbered(2, 101), tmp_path, name="map", classes=L1)
    assert cog_validate(path, quiet=True)[0]
    values = read(path)
    for level, factor in enumerate([2, 4, 8, 16, 32]):
        values = cog.majority_of_four(values)
        with rasterio.open(path, overview_level=level) as source:
            np.testing.assert_array_equal(source.read(1), values)
        assert source.width == -(-9101 // factor)


def test_empty_ground_is_cheap(tmp_path: Path) -> None:
    (path,) = mosaic(table([(0, 0), (20_000, 20_000)]), numbered(2), tmp_path, name="map", classes=L1)
    assert path.stat().st_size < 100_000
    with rasterio.open(path) as source:
        assert source.shape == (20_008, 20_008)
        assert source.read(1, window=((20_000, 20_008), (20_000, 20_008))).tolist() == [[1] * 8] * 8
        assert source.read(1, window=((9_000, 9_008), (9_000, 9_008))).tolist() == [[255] * 8] * 8


class Watched:
    """Tiles that note the largest piece that was asked of them; whole use would fail."""

    def __init__(self, tiles: Tiles) -> None:
        self.tiles, self.largest = tiles, 0
        self.shape, self.dtype, self.ndim, self.flags = tiles.shape, tiles.dtype, tiles.ndim, tiles.flags

    def __len__(self) -> int:
        return len(self.tiles)

    def __getitem__(self, index: tuple[int, slice, slice]) -> Tiles:
        part: Tiles = self.tiles[index]
        self.largest = max(self.largest, part.size)
        return part


def test_reads_patch_by_patch(tmp_path: Path, scattered: tuple[pd.DataFrame, Tiles]) -> None:
    watched = Watched(scattered[1])
    mosaic(scattered[0], watched, tmp_path, name="map", classes=L1)  # type: ignore[arg-type]
    assert watched.largest == 40 * 24


def test_memory_mapped_tiles(tmp_path: Path) -> None:
    np.save(tmp_path / "tiles.npy", numbered(2))
    tiles = np.load(tmp_path / "tiles.npy", mmap_mode="r")
    (path,) = mosaic(table([(0, 0), (0, 8)]), tiles, tmp_path, name="map", classes=L1)
    assert read(path)[0, 7:9].tolist() == [0, 1]
    assert (tiles[1] == 1).all()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("b", 0.5, "patch p1 has the transform .*b = 0.5.*; expected b = d = 0 .*: warp it"),
        ("e", 10.0, "patch p1 has the transform .*e = 10.*; expected a > 0 and e < 0 .*: flip"),
        ("a", 10.02, "patch p1 .*a = 10.02.*; expected pixels of 10 x 10 as in patch p0, to 0.1 %: resample"),
        ("c", np.nan, "patch p1 .*c = nan.*; expected finite numbers: correct"),
        ("crs", "EPSG:1", "patch p1 .*'EPSG:1', which GDAL does not know .*; expected one such as .*: correct"),
        ("crs", None, "patch p1 has the coordinate reference system .*which GDAL does not know"),
    ],
)
def test_refuses_patches_that_do_not_fit(tmp_path: Path, column: str, value: object, message: str) -> None:
    patches = table([(0, 0), (0, 0), (0, 8)])
    patches[column] = [patches[column][0], value, patches[column][2]]
    with pytest.raises(DataError, match=message):
        mosaic(patches, numbered(3), tmp_path / "out", name="map", classes=L1)
    assert not (tmp_path / "out").exists()


def test_refuses_an_absurd_extent(tmp_path: Path) -> None:
    patches = table([(0, 0), (600_000, 600_000)])
    with pytest.raises(
        DataError, match=r"the 2 patches in epsg32722 span 600008 x 600008 pixels.*; expected patches of"
    ):
        mosaic(patches, numbered(2), tmp_path, name="map", classes=L1)


@pytest.mark.parametrize(
    ("patches", "tiles", "message"),
    [
        (table([(0, 0)]).drop(columns=["a", "crs"]), numbered(1), "no column crs, a; expected id, crs, a"),
        (table([(0, 0)]), numbered(1).astype(np.int32), "int32 of shape .1, 8, 8.; expected uint8"),
        (table([(0, 0)]), numbered(1)[0], "uint8 of shape .8, 8.; expected uint8 .patches, height, width"),
        (table([(0, 0)]), numbered(2), "1 rows, but there are 2 tiles; expected one tile a patch"),
        (table([]), numbered(0), "no patch to put on a map"),
    ],
)
def test_refuses_tables_and_tiles_that_do_not_match(
    tmp_path: Path, patches: pd.DataFrame, tiles: Tiles, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        mosaic(patches, tiles, tmp_path, name="map", classes=L1)


@pytest.mark.parametrize(("classes", "value", "largest"), [(L1, 7, 6), (LEVELS["l2"], 14, 13), (None, 101, 100)])
def test_refuses_values_outside_the_range(tmp_path: Path, classes: object, value: int, largest: int) -> None:
    tiles = numbered(2)
    tiles[0, 0, 0], tiles[1, 3, 3] = 255, value
    with pytest.raises(DataError, match=f"patch p1 holds the value {value}; expected 0 to {largest}, or 255"):
        mosaic(table([(0, 0), (0, 8)]), tiles, tmp_path, name="map", classes=classes)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("broken", ["_add_overviews", "_copy_to_cog", "_sidecar"])
def test_a_failure_leaves_the_last_map_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    (path,) = mosaic(table([(0, 0)]), numbered(1), tmp_path, name="map", classes=L1)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    seen: list[str] = []

    def fail(*_: object, **__: object) -> None:
        seen.extend(p.name for p in tmp_path.iterdir())
        raise OSError("no space left")

    monkeypatch.setattr(cog, broken, fail)
    with pytest.raises(OSError, match="no space left"):
        mosaic(table([(0, 0)]), numbered(1) + np.uint8(1), tmp_path, name="map", classes=L1)
    assert sorted(seen) == [f".{path.name}.part", path.name, f"{path.name}.aux.xml"]
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_killed_run_is_cleared_by_the_next(tmp_path: Path) -> None:
    part = tmp_path / ".map_epsg32722.tif.part"
    part.mkdir()
    (part / "levels.tif.ovr").write_text("half written")
    (path,) = mosaic(table([(0, 0)]), numbered(1), tmp_path, name="map", classes=L1)
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name, f"{path.name}.aux.xml"]


def test_same_patches_give_the_same_bytes(tmp_path: Path, scattered: tuple[pd.DataFrame, Tiles]) -> None:
    (one,) = mosaic(*scattered, tmp_path / "one", name="map", classes=L1, threads=1)
    (two,) = mosaic(*scattered, tmp_path / "two", name="map", classes=L1)
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.skipif("CERRASEG_REAL_SAMPLE" not in os.environ, reason="CERRASEG_REAL_SAMPLE is not set")
def test_real_windows_give_back_their_scenes(tmp_path: Path) -> None:
    sample = Path(os.environ["CERRASEG_REAL_SAMPLE"])
    rows, tiles = [], []
    for path in sorted((sample / "terramesh" / "semantic_7c").glob("*.tif")):
        with rasterio.open(path) as source:
            rows.append((path.stem.split("_")[-1], source.crs.to_wkt(), *source.transform[:6]))
            tiles.append(source.read(1))
    patches = pd.DataFrame(rows, columns=["id", "crs", *"abcdef"])
    maps = {p.name: p for p in mosaic(patches, np.stack(tiles), tmp_path, name="map", classes=L1)}
    manifest = pd.read_csv(sample / "manifest.csv").query("subset == 'terramesh'")
    sites = manifest.groupby("site").first()["crs"]
    assert len(maps) == len(sites) == 4
    for site, crs in sites.items():
        with (
            rasterio.open(sample / "scenes" / f"terramesh_{site}" / "semantic_7c.tif") as scene,
            rasterio.open(maps[f"map_{crs.lower().replace(':', '')}.tif"]) as ours,
        ):
            assert (ours.crs, ours.transform, ours.shape) == (scene.crs, scene.transform, scene.shape)
            np.testing.assert_array_equal(ours.read(1), scene.read(1))
