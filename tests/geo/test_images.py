"""What a raster declares of itself is honoured or refused, in own grids and warped: values by rasterio or numpy."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.enums import ColorInterp, Resampling
from rasterio.warp import reproject
from rasterio.windows import Window

from cerraseg.core.errors import DataError
from cerraseg.geo.grids import Grid
from cerraseg.geo.images import ImageFiles, open_image, open_mask, raster_sources
from cerraseg.geo.rasters import crs_text

BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
UTM = "EPSG:32722"
PLACE = Affine(10, 0, 600000, 0, -10, 8200000)
SOUTH_UP = Affine(10, 0, 600000, 0, 10, 8200000 - 640)
GRID = Grid(rasterio.CRS.from_string(UTM), PLACE, (64, 64))
STEPS = np.stack([np.full((64, 64), 100 * (band + 1), "i2") for band in range(12)])  # band k holds 100 (k + 1)
RADAR = np.random.default_rng(0).uniform(0.1, 0.3, (2, 64, 64)).astype("f4")
WINDOW = Window(7, 11, 30, 20)


def put(path: Path, array: NDArray, transform: Affine = PLACE, names=(), scales=(), offsets=(), mask=None, **profile):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = array if array.ndim == 3 else array[None]
    size = {"count": len(array), "height": array.shape[1], "width": array.shape[2], "dtype": array.dtype}
    with rasterio.open(path, "w", **{"driver": "GTiff", "crs": UTM, "transform": transform, **size, **profile}) as file:
        file.write(array)
        for number, name in enumerate(names, 1):
            file.set_band_description(number, name)
        if scales:
            file.scales, file.offsets = scales, offsets
        if mask is not None:
            file.write_mask(mask)
    return path


def read(image, wanted=BANDS, window=None, **options):
    """Values, and where they are data, of an image or a path."""
    image = image if isinstance(image, ImageFiles) else ImageFiles((image,))
    with open_image(image, wanted, "patch x", **options) as opened:
        values, valid = opened.read(window)
    assert values.dtype == np.float32 and (np.isnan(values) == ~valid).all()
    return values, valid


def warped(array: NDArray, transform: Affine, grid: Grid = GRID, crs: str = UTM, how: str = "bilinear") -> NDArray:
    """What rasterio makes of an array with NaN without data."""
    out = np.full((len(array), *grid.shape), np.nan, "f4")
    reproject(
        array.astype("f4"),
        out,
        src_transform=transform,
        src_crs=crs,
        dst_transform=grid.transform,
        dst_crs=grid.crs,
        src_nodata=np.nan,
        dst_nodata=np.nan,
        resampling=Resampling[how],
        UNIFIED_SRC_NODATA="NO",
    )
    return out


class TestBands:
    def test_described_bands_are_reordered(self, tmp_path):
        """Case 01, with other spellings and a band more."""
        order = [*reversed(range(12))]
        names = [BANDS[k].replace("B0", "b") for k in order] + ["B10"]
        path = put(tmp_path / "x.tif", np.concatenate([STEPS[order], STEPS[:1]]), names=names)
        np.testing.assert_array_equal(read(path)[0], STEPS)
        np.testing.assert_array_equal(read(path, window=WINDOW)[0], STEPS[:, 11:31, 7:37])

    @pytest.mark.parametrize("names", [(), ("Band 1", "band_2"), ("1", "2"), ("Layer 1", "layer-2")])
    def test_bands_without_a_name_go_by_position(self, tmp_path, names):
        path = put(tmp_path / "x.tif", RADAR, names=names)
        np.testing.assert_array_equal(read(path, ("VV", "VH"))[0], RADAR)

    @pytest.mark.parametrize(
        ("count", "names", "named"),
        [
            (2, ("HH", "HV"), "VV, VH is missing"),
            (2, ("VV", "VV"), "VV, VH is missing or there twice"),
            (2, ("VV", None), "VH is missing"),
            (1, (), "1 bands without descriptions, not 2"),
        ],
    )
    def test_descriptions_that_contradict_are_refused(self, tmp_path, count, names, named):
        path = put(tmp_path / "x.tif", RADAR[:count], names=[name for name in names if name])
        with pytest.raises(DataError, match=f"patch x: .*x.tif: .*{named}"):
            read(path, ("VV", "VH"))

    def test_names_that_are_given_come_first(self, tmp_path):
        path = put(tmp_path / "x.tif", RADAR, names=("HH", "HV"))
        found, _ = read(ImageFiles((path,), bands=("vh", "vv")), ("VV", "VH"))
        np.testing.assert_array_equal(found, RADAR[::-1])
        with pytest.raises(DataError, match=r"3 bands are named, but .* has 2"):
            read(ImageFiles((path,), bands=("VV", "VH", "x")), ("VV", "VH"))

    def test_a_list_of_files_goes_by_description_file_name_or_order(self, tmp_path):
        for names in (("T22_B04_10m", "T22_B03_10m"), ("a", "b")):
            files = tuple(put(tmp_path / f"{name}.tif", STEPS[k]) for k, name in enumerate(names))
            found, _ = read(ImageFiles(files), ("B03", "B04"))
            assert found[:, 0, 0].tolist() == ([200, 100] if "B04" in names[0] else [100, 200])
        files = tuple(put(tmp_path / f"{name}.tif", STEPS[k], names=[name]) for k, name in enumerate(("B04", "B03")))
        assert read(ImageFiles(files), ("B03", "B04"))[0][:, 0, 0].tolist() == [200, 100]

    def test_a_fourth_band_of_bytes_is_no_alpha_where_four_are_wanted(self, tmp_path):
        image = np.arange(4 * 64 * 64, dtype="u1").reshape(4, 64, 64)
        path = put(tmp_path / "x.tif", image)
        with rasterio.open(path) as file:
            assert file.colorinterp[3] is ColorInterp.alpha
        found, valid = read(path, BANDS[:4])
        np.testing.assert_array_equal(found, image)
        assert valid.all()
        found, valid = read(path, BANDS[:3])
        np.testing.assert_array_equal(valid, [image[3] > 0] * 3)
        coarse = Grid(GRID.crs, PLACE * Affine.scale(2), (32, 32))
        expected = warped(np.where(image[3] > 0, image[:3], np.nan), PLACE, coarse, how="average")
        np.testing.assert_array_equal(read(path, BANDS[:3], grid=coarse, resampling="average")[0], expected)


class TestData:
    def test_declared_no_data_of_each_band(self, tmp_path):
        """Case 02, and a VRT of bands with unlike values (case 10), on the grid and warped."""
        holes = STEPS.copy()
        holes[:, :20] = -9999
        _, valid = read(put(tmp_path / "x.tif", holes, nodata=-9999))
        assert not valid[:, :20].any() and valid[:, 20:].all()
        vv, vh = RADAR.copy()
        vv[50:52, 3], vh[10:30, 10:30] = -9999, -32768
        coarse = PLACE * Affine.scale(2)
        put(tmp_path / "VV.tif", vv, coarse, nodata=-9999)
        put(tmp_path / "VH.tif", vh, coarse, nodata=-32768)
        path = vrt(tmp_path / "sar.vrt", coarse, {"VV": -9999, "VH": -32768})
        truth = np.stack([np.where(vv == -9999, np.nan, vv), np.where(vh == -32768, np.nan, vh)])
        np.testing.assert_array_equal(read(path, ("VV", "VH"))[0], truth)
        fine = Grid(GRID.crs, PLACE, (128, 128))
        found, valid = read(path, ("VV", "VH"), grid=fine)
        np.testing.assert_array_equal(found, warped(truth, coarse, fine))
        assert 0.9 < valid.all(0).mean() < 0.92
        part, _ = read(path, ("VV", "VH"), Window(30, 20, 50, 40), grid=fine)
        np.testing.assert_array_equal(part, found[:, 20:60, 30:80])

    @pytest.mark.parametrize("declared", [None, -1.0])
    def test_undeclared_no_data(self, tmp_path, declared):
        image = RADAR.copy()
        image[:, :5], image[0, 7, 7], image[1, 9, 9], image[1, 10, 10] = 0, -1, np.nan, np.inf
        path = put(tmp_path / "x.tif", image, nodata=declared)
        truth = image.copy()
        truth[:, :5] = truth[1, 9, 9] = truth[1, 10, 10] = np.nan
        if declared is not None:
            truth[0, 7, 7] = np.nan
        files = ImageFiles((path,), nodata=0)
        np.testing.assert_array_equal(read(files, ("VV", "VH"))[0], truth)
        fine = Grid(GRID.crs, PLACE * Affine.scale(0.5), (128, 128))
        finite = np.where(np.isinf(image), np.inf, truth)  # an infinite value spoils its neighbours, as in rasterio
        expected = warped(finite, PLACE, fine)
        expected[np.isinf(expected)] = np.nan
        np.testing.assert_array_equal(read(files, ("VV", "VH"), grid=fine)[0], expected)

    @pytest.mark.parametrize("internal", [True, False])
    def test_masks_inside_and_beside_the_file(self, tmp_path, internal):
        mask = np.full((64, 64), 255, "u1")
        mask[40:50, 40:50] = 0
        image = RADAR.copy()
        image[0, 3, 3] = -1  # declared, too
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal):
            path = put(tmp_path / "x.tif", image, mask=mask, nodata=-1)
        assert (tmp_path / "x.tif.msk").exists() is not internal
        truth = np.where((mask == 0) | (image == -1), np.nan, image)
        np.testing.assert_array_equal(read(path, ("VV", "VH"))[0], truth)
        shifted = Grid(GRID.crs, PLACE * Affine.translation(0.5, 0.5), (63, 63))
        np.testing.assert_array_equal(read(path, ("VV", "VH"), grid=shifted)[0], warped(truth, PLACE, shifted))
        assert [file.name for file in raster_sources(path)] == ["x.tif", *([] if internal else ["x.tif.msk"])]

    def test_a_raster_of_values_that_are_not_to_be_used(self, tmp_path):
        classes = np.arange(32 * 32, dtype="u1").reshape(32, 32) % 12
        scl = put(tmp_path / "scl.tif", classes, PLACE * Affine.scale(2))
        image = ImageFiles((put(tmp_path / "x.tif", STEPS),), mask=scl, mask_values=(3, 8))
        clear = ~np.isin(classes, (3, 8)).repeat(2, 0).repeat(2, 1)
        for window in (None, WINDOW):
            _, valid = read(image, window=window)
            wanted = clear if window is None else clear[window.toslices()]
            np.testing.assert_array_equal(valid, np.broadcast_to(wanted, valid.shape))
        assert image.sources == [tmp_path / "x.tif", scl]

    def test_scale_and_offset(self, tmp_path):
        """Case 05; no-data values are stored ones."""
        stored = np.round((STEPS.astype("f8") + 1000) / 0.125).astype("u2")
        stored[:, 0, 0] = 8000  # would be 0
        path = put(tmp_path / "x.tif", stored, scales=[0.125] * 12, offsets=[-1000.0] * 12, nodata=8000)
        found, valid = read(path)
        assert not valid[:, 0, 0].any() and valid[:, 1:].all()
        np.testing.assert_array_equal(found[:, 1:], STEPS[:, 1:])
        np.testing.assert_array_equal(read(path, scaled=False)[0][:, 1:], stored[:, 1:])
        with open_image(ImageFiles((path,)), BANDS, "x") as image:
            assert image.scaled_by_tags and not image.warped
        shifted = Grid(GRID.crs, PLACE * Affine.translation(1, 1), (60, 60))
        np.testing.assert_array_equal(read(path, grid=shifted)[0], STEPS[:, :60, :60])

    def test_numbers_that_float32_does_not_hold(self, tmp_path):
        stored = np.array([[[2**31 - 1, 2**24 + 1], [5, 7]]], "i4")
        path = put(tmp_path / "x.tif", stored, scales=[2.0], offsets=[-(2.0**25)], nodata=2**31 - 1)
        for options in ({}, {"grid": Grid(GRID.crs, PLACE * Affine.translation(0, 1), (1, 2))}):
            found, _ = read(path, ("a",), **options)
            np.testing.assert_array_equal(found[0, -1], [10 - 2.0**25, 14 - 2.0**25])
        assert np.isnan(read(path, ("a",))[0][0, 0, 0]) and read(path, ("a",))[0][0, 0, 1] == 2

    def test_means_leave_out_what_is_no_data(self, tmp_path):
        image = RADAR.copy()
        image[:, :3] = 0
        truth = np.where(image == 0, np.nan, image)
        means = np.nanmean(truth.reshape(2, 32, 2, 32, 2).swapaxes(2, 3).reshape(2, 32, 32, 4)[:, 1:], -1)
        for path, nodata in ((put(tmp_path / "a.tif", image, nodata=0), None), (put(tmp_path / "b.tif", image), 0)):
            with open_image(ImageFiles((path,), nodata=nodata), ("VV", "VH"), "x") as opened:
                found = opened.reduced(("VH", "VV", "VH"), (32, 32))
            assert np.isnan(found[:, 0]).all()
            np.testing.assert_allclose(found[:, 1:], means[[1, 0, 1]], rtol=1e-5)


class TestGrids:
    def test_south_up_and_mirrored_images_are_flipped(self, tmp_path):
        """Cases 06 and 13: exactly, whole and by window."""
        ramp = np.random.default_rng(1).integers(0, 9999, (2, 64, 64)).astype("u2")
        mirrored = Affine(-10, 0, 600640, 0, -10, 8200000)
        for name, stored, transform in (("s", ramp[:, ::-1], SOUTH_UP), ("m", ramp[:, :, ::-1], mirrored)):
            path = put(tmp_path / f"{name}.tif", stored, transform)
            with open_image(ImageFiles((path,)), ("VV", "VH"), "x") as image:
                assert image.grid == GRID and not image.warped
                np.testing.assert_array_equal(image.read()[0], ramp)
                np.testing.assert_array_equal(image.read(WINDOW)[0], ramp[:, 11:31, 7:37])
                np.testing.assert_array_equal(image.reduced(("VV", "VH"), (64, 64)), ramp)
            np.testing.assert_array_equal(read(path, ("VV", "VH"), grid=GRID)[0], ramp)
            coarse = Grid(GRID.crs, PLACE * Affine.scale(2), (32, 32))
            np.testing.assert_array_equal(read(path, ("VV", "VH"), grid=coarse)[0], warped(ramp, PLACE, coarse))

    def test_a_turned_image_is_warped_to_a_north_up_grid(self, tmp_path):
        turned = PLACE * Affine.rotation(30)
        with open_image(ImageFiles((put(tmp_path / "x.tif", RADAR, turned),)), ("VV", "VH"), "x") as image:
            transform = image.grid.transform
            np.testing.assert_allclose([transform.a, transform.b, transform.d, transform.e], [10, 0, 0, -10], atol=1e-9)
            assert image.warped and image.grid.shape == (88, 88)
            found, valid = image.read()
        np.testing.assert_array_equal(found, warped(RADAR, turned, image.grid))
        assert 0.4 < valid.mean() < 0.6

    def test_another_coordinate_system(self, tmp_path):
        degrees = Affine(1e-4, 0, -50.0655, 0, -1e-4, -16.2775)
        image = np.random.default_rng(2).uniform(0, 1, (2, 90, 90)).astype("f4")
        path = put(tmp_path / "x.tif", image, degrees, crs="EPSG:4326")
        found, valid = read(path, ("VV", "VH"), grid=GRID, resampling="cubic")
        np.testing.assert_allclose(found, warped(image, degrees, crs="EPSG:4326", how="cubic"), atol=1e-5)
        assert valid.all()

    def test_files_on_different_grids_come_to_the_finest(self, tmp_path):
        coarse = PLACE * Affine.scale(3)
        files = (
            put(tmp_path / "B01.tif", STEPS[0, :22, :22] + RADAR[0, :22, :22], coarse),
            put(tmp_path / "B02.tif", STEPS[1]),
        )
        with open_image(ImageFiles(files), ("B01", "B02"), "x") as image:
            assert image.grid == GRID and image.warped
            found, _ = image.read()
        np.testing.assert_array_equal(found[1], STEPS[1])
        np.testing.assert_array_equal(found[:1], warped((STEPS[0] + RADAR[0])[None, :22, :22], coarse))

    def test_elsewhere(self, tmp_path):
        path = put(tmp_path / "x.tif", RADAR, Affine(10, 0, 900000, 0, -10, 8200000))
        with pytest.raises(DataError, match=r"x.tif lies at .900000.* beside"):
            read(path, ("VV", "VH"), grid=GRID)

    def test_a_system_without_a_code_stays_as_it_is(self, tmp_path):
        """Case 15."""
        path = put(tmp_path / "x.tif", RADAR, crs="+proj=utm +zone=22 +south +ellps=WGS84")
        with open_image(ImageFiles((path,)), ("VV", "VH"), "x") as image:
            assert crs_text(image.grid.crs).startswith("PROJCS") and "5383" not in crs_text(image.grid.crs)
            assert rasterio.CRS.from_wkt(crs_text(image.grid.crs)) == image.grid.crs
        assert crs_text(GRID.crs) == UTM and crs_text(rasterio.CRS.from_epsg(4326)) == "EPSG:4326"


class TestAntimeridian:
    """A ramp over the longitudes from 179.96° E to 179.96° W, in three spellings and brought to three grids."""

    STEP = 1e-3
    RAMP = np.tile(np.arange(80, dtype="f4"), (1, 40, 1))
    EAST = Affine(STEP, 0, 179.96, 0, -STEP, 0.02)
    WEST = Affine(STEP, 0, -180.04, 0, -STEP, 0.02)

    @pytest.mark.parametrize("source", [EAST, WEST])
    @pytest.mark.parametrize("target", [EAST, WEST])
    def test_between_degrees(self, tmp_path, source, target):
        path = put(tmp_path / "x.tif", self.RAMP, source, crs="EPSG:4326")
        grid = Grid(rasterio.CRS.from_epsg(4326), target, (40, 80))
        np.testing.assert_allclose(read(path, ("a",), grid=grid)[0][:, 1:-1, 1:-1], self.RAMP[:, 1:-1, 1:-1], atol=1e-3)

    def test_both_halves_of_a_global_raster(self, tmp_path):
        world = np.tile(np.arange(3600, dtype="f4"), (1, 20, 1))
        path = put(tmp_path / "x.tif", world, Affine(0.1, 0, -180, 0, -0.1, 1), crs="EPSG:4326")
        grid = Grid(rasterio.CRS.from_epsg(4326), Affine(0.1, 0, 179, 0, -0.1, 1), (20, 20))
        np.testing.assert_array_equal(read(path, ("a",), grid=grid)[0][0, 5], [*range(3590, 3600), *range(10)])

    def test_both_halves_of_a_global_mask(self, tmp_path):
        world = np.tile(np.arange(3600, dtype="i4") % 250, (1, 20, 1))
        path = put(tmp_path / "x.tif", world, Affine(0.1, 0, -180, 0, -0.1, 1), crs="EPSG:4326")
        grid = Grid(rasterio.CRS.from_epsg(4326), Affine(0.1, 0, 179, 0, -0.1, 1), (20, 20))
        with open_mask(path, "labels", grid=grid) as mask:
            values, valid = mask.read()
        assert valid.all()
        np.testing.assert_array_equal(values[5], [*range(90, 100), *range(10)])

    @pytest.mark.parametrize("source", [EAST, WEST])
    @pytest.mark.parametrize("zone", ["EPSG:32660", "EPSG:32601"])
    def test_to_utm(self, tmp_path, source, zone):
        path = put(tmp_path / "x.tif", self.RAMP, source, crs="EPSG:4326")
        (x,), (y,) = rasterio.warp.transform("EPSG:4326", zone, [179.97], [0.01])
        grid = Grid(rasterio.CRS.from_string(zone), Affine(110, 0, x, 0, -110, y), (10, 55))
        found, valid = read(path, ("a",), grid=grid)
        assert valid.all()
        np.testing.assert_allclose(np.diff(found[0, 5]), 110 / 111.3, atol=0.02)

    @pytest.mark.parametrize("zone", ["EPSG:32660", "EPSG:32601"])
    @pytest.mark.parametrize("target", [EAST, WEST])
    def test_from_utm(self, tmp_path, zone, target):
        (x,), (y,) = rasterio.warp.transform("EPSG:4326", zone, [179.95], [0.03])
        path = put(
            tmp_path / "x.tif", np.tile(np.arange(110, dtype="f4"), (1, 60, 1)), Affine(110, 0, x, 0, -110, y), crs=zone
        )
        found, valid = read(path, ("a",), grid=Grid(rasterio.CRS.from_epsg(4326), target, (40, 80)))
        assert valid.all()
        np.testing.assert_allclose(np.diff(found[0, 20]), 111.3 / 110, atol=0.02)


class TestMasks:
    CLASSES = np.arange(64 * 64, dtype="u1").reshape(64, 64) % 7

    def test_declared_no_data(self, tmp_path):
        """Cases 03 and 04."""
        with open_mask(put(tmp_path / "0.tif", self.CLASSES, nodata=0), "mask") as mask:
            values, valid = mask.read()
        np.testing.assert_array_equal(valid, self.CLASSES != 0)
        np.testing.assert_array_equal(values[valid], self.CLASSES[valid])
        negative = self.CLASSES.astype("i2")
        negative[:20] = -1
        with open_mask(put(tmp_path / "1.tif", negative, nodata=-1), "mask") as mask:
            np.testing.assert_array_equal(mask.read()[1], negative >= 0)
            np.testing.assert_array_equal(mask.read(WINDOW)[0], negative[11:31, 7:37])

    def test_south_up_and_on_another_grid(self, tmp_path):
        """Case 14; outside there is no data."""
        with open_mask(put(tmp_path / "s.tif", self.CLASSES[::-1], SOUTH_UP), "mask", grid=GRID) as mask:
            np.testing.assert_array_equal(mask.read()[0], self.CLASSES)
        path = put(tmp_path / "c.tif", self.CLASSES, PLACE * Affine.scale(2), nodata=3)
        with open_mask(path, "mask", grid=Grid(GRID.crs, PLACE * Affine.translation(-10, 0), (128, 138))) as mask:
            values, valid = mask.read()
        fine = self.CLASSES.repeat(2, 0).repeat(2, 1)
        np.testing.assert_array_equal(valid, np.pad(fine != 3, [(0, 0), (10, 0)]))
        np.testing.assert_array_equal(values[:, 10:][fine != 3], fine[fine != 3])

    def test_several_bands_are_refused(self, tmp_path):
        """Case 12."""
        one_hot = np.stack([k == self.CLASSES for k in range(7)]).astype("u1")
        with (
            pytest.raises(DataError, match=r"mask: .* 7 bands; expected one"),
            open_mask(put(tmp_path / "x.tif", one_hot), "mask"),
        ):
            pass


class TestRefused:
    def test_complex_numbers(self, tmp_path):
        """Case 11."""
        path = put(tmp_path / "x.tif", RADAR.astype("c8"))
        with pytest.raises(DataError, match="complex64"):
            read(path, ("VV", "VH"))
        with (
            pytest.raises(DataError, match="complex64"),
            open_mask(put(tmp_path / "m.tif", RADAR[0].astype("c8")), "m"),
        ):
            pass

    def test_ground_control_points_alone(self, tmp_path):
        """Case 18: no advice to write a transform over them."""
        points = [
            rasterio.control.GroundControlPoint(r, c, 6e5 + 9 * c + r, 8.2e6 - 9 * r) for r in (0, 60) for c in (0, 60)
        ]
        path = put(tmp_path / "x.tif", RADAR)
        with rasterio.open(path, "w", driver="GTiff", count=2, height=64, width=64, dtype="float32") as file:
            file.gcps = points, rasterio.CRS.from_string(UTM)
            file.write(RADAR)
        with pytest.raises(DataError, match=r"ground control points.*terrain-correct.*rio warp") as error:
            read(path, ("VV", "VH"))
        assert "gdal" not in str(error.value)

    def test_no_place(self, tmp_path):
        path = put(tmp_path / "x.tif", RADAR, crs=None)
        with pytest.raises(DataError, match=r"patch x: .*x.tif.* coordinate reference system None.*rio edit-info"):
            read(path, ("VV", "VH"))

    def test_what_is_no_raster_or_cut(self, tmp_path):
        (tmp_path / "text.tif").write_text("no raster")
        for path in (tmp_path / "text.tif", tmp_path / "none.tif", tmp_path):
            with pytest.raises(DataError, match="cannot be opened"):
                read(path, ("VV", "VH"))
        path = put(tmp_path / "cut.tif", RADAR)
        path.write_bytes(path.read_bytes()[:-9000])
        with pytest.raises(DataError, match=r"cut\.tif.*(damaged|cannot be opened)"):
            read(path, ("VV", "VH"))


def vrt(path: Path, transform: Affine, bands: dict[str, float]) -> Path:
    """A VRT of <band>.tif beside it, 64 x 64 pixels."""
    parts = "".join(
        f'<VRTRasterBand dataType="Float32" band="{number}"><Description>{name}</Description>'
        f"<NoDataValue>{nodata}</NoDataValue><SimpleSource>"
        f'<SourceFilename relativeToVRT="1">{name}.tif</SourceFilename><SourceBand>1</SourceBand></SimpleSource>'
        "</VRTRasterBand>"
        for number, (name, nodata) in enumerate(bands.items(), 1)
    )
    place = ", ".join(map(str, transform.to_gdal()))
    path.write_text(
        f'<VRTDataset rasterXSize="64" rasterYSize="64"><SRS>{UTM}</SRS><GeoTransform>{place}</GeoTransform>'
        f"{parts}</VRTDataset>"
    )
    return path


class TestSources:
    def test_files_below_virtual_rasters(self, tmp_path):
        """Case 16: also two levels down, once each."""
        files = [put(tmp_path / f"{name}.tif", RADAR[0]) for name in ("VV", "VH")]
        inner = vrt(tmp_path / "inner.vrt", PLACE, {"VV": 0, "VH": 0})
        outer = tmp_path / "sub/outer.vrt"
        outer.parent.mkdir()
        inner_twice = inner.read_text().replace(">VV.tif<", ">../inner.vrt<").replace(">VH.tif<", ">../sub/outer.vrt<")
        outer.write_text(inner_twice)
        assert raster_sources(inner) == [inner, *files]
        assert [source.resolve() for source in raster_sources(outer)] == [outer, inner, *files]

    def test_a_missing_source_is_named(self, tmp_path):
        """Case 19."""
        put(tmp_path / "VV.tif", RADAR[0])
        with pytest.raises(DataError, match=r"sar\.vrt leads to .*VH\.tif, which is missing"):
            read(vrt(tmp_path / "sar.vrt", PLACE, {"VV": 0, "VH": 0}), ("VV", "VH"))


class TestSafe:
    """Products as ESA names them: L2A with a folder per resolution, L1C with one."""

    METRES: ClassVar = dict(zip(BANDS, (60, 10, 10, 10, 20, 20, 20, 10, 20, 60, 20, 20), strict=True))

    def product(self, folder: Path, level: str, offset: int | None = None) -> dict[str, NDArray]:
        """Write a product; return band → its pixels at its finest resolution."""
        images = folder / "GRANULE/L2A_T22LGH_A01_20240101T134211/IMG_DATA"
        rng, pixels = np.random.default_rng(3), {}
        for band, finest in self.METRES.items():
            for metres in [m for m in (10, 20, 60) if m >= finest] if level == "L2A" else [finest]:
                side = 1200 // metres
                array = rng.integers(1, 9000, (side, side)).astype("u2")
                array[: 120 // metres, : 60 // metres] = 0
                name = f"T22LGH_20240101T134211_{band}" + (f"_{metres}m" if level == "L2A" else "")
                path = images / (f"R{metres}m" if level == "L2A" else "") / f"{name}.jp2"
                transform = Affine(metres, 0, 600000, 0, -metres, 8200000)
                put(path, array, transform, driver="JP2OpenJPEG", QUALITY=100, REVERSIBLE="YES")
                if metres == finest:
                    pixels[band] = array
        (images / "T22LGH_20240101T134211_TCI.jp2").write_bytes(b"")
        if offset is not None:
            rows = "".join(f'<BOA_ADD_OFFSET band_id="{k}">{offset}</BOA_ADD_OFFSET>' for k in range(13))
            (folder / "MTD_MSIL2A.xml").write_text(f"<Product><List>{rows}</List></Product>")
        return pixels

    @pytest.mark.parametrize("level", ["L2A", "L1C"])
    def test_bands_come_to_the_finest_wanted_grid(self, tmp_path, level):
        folder = tmp_path / "S2A_MSIL2A_20240101T134211_N0400_R124_T22LGH.SAFE"
        pixels = self.product(folder, level)
        grid = Grid(GRID.crs, PLACE, (120, 120))
        with open_image(ImageFiles((folder,)), BANDS, "x") as image:
            assert image.grid == grid and image.warped and not image.scaled_by_tags
            found, valid = image.read()
            part, _ = image.read(WINDOW)
        for place, band in enumerate(BANDS):
            array = np.where(pixels[band] == 0, np.nan, pixels[band])[None]
            expected = warped(array, PLACE * Affine.scale(self.METRES[band] / 10), grid)[0]
            np.testing.assert_array_equal(found[place], expected, band)
        np.testing.assert_array_equal(part, found[:, 11:31, 7:37])
        assert not valid[:, :10, :4].any() and valid[:, 14:].all()
        with open_image(ImageFiles((folder,)), ("b5", "B12"), "x") as image:
            assert image.grid.shape == (60, 60) and image.grid.transform.a == 20

    def test_the_offset_of_baseline_4(self, tmp_path):
        folder = tmp_path / "x.SAFE"
        pixels = self.product(folder, "L2A", -1000)
        with open_image(ImageFiles((folder,)), ("B02",), "x") as image:
            assert image.scaled_by_tags
            np.testing.assert_array_equal(image.read()[0][0, 20:], pixels["B02"][20:] - 1000.0)
        np.testing.assert_array_equal(read(folder, ("B02",), scaled=False)[0][0, 20:], pixels["B02"][20:])
        names = [source.name for source in raster_sources(folder)]
        assert (
            "MTD_MSIL2A.xml" in names
            and "T22LGH_20240101T134211_B8A_20m.jp2" in names
            and len(names) == 1 + 4 * 3 + 6 * 2 + 2
        )

    def test_a_missing_band_is_named(self, tmp_path):
        folder = tmp_path / "x.SAFE"
        self.product(folder, "L1C")
        with pytest.raises(DataError, match="none of B10"):
            read(folder, ("B02", "B10"))
