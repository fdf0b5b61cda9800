"""Maps of scenes: exact where they can be checked, whole or absent, resumable, and without seams."""

import time
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
import rasterio
import torch
from rio_cogeo.cogeo import cog_validate
from scenes import TRAINED, pixels, seams, write_model, write_raster, write_scene

from cerraseg.core.taxonomy import CHILDREN, LEVELS, MODALITIES, MSI_BANDS, PARENTS
from cerraseg.data.packed import Header, Store
from cerraseg.mapping import map_rows, predict, scene, tiling
from cerraseg.mapping import map_scene as mapping
from cerraseg.mapping.map_scene import Settings, map_scene
from cerraseg.mapping.mosaic import mosaic
from cerraseg.models import checkpoint


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "model.pt")


def run(model, files, folder, name="map", **settings):
    map_scene(model, files, TRAINED, folder / name, folder / "unfinished", Settings(**settings), {"SCENE": files.name})
    assert not (folder / "unfinished").exists()
    return {path.stem: read(path) for path in (folder / name).glob("*.tif")}


def read(path):
    with rasterio.open(path) as file:
        return file.read() if file.count > 1 else file.read(1)


def image_of(files):
    return np.concatenate([read(files.msi), read(files.sar)])


def probabilities(model, tiles):
    with torch.inference_mode():
        return checkpoint.load(model)[0](torch.from_numpy(np.ascontiguousarray(tiles)))[0].softmax(1).numpy()


def blended(model, image, overlap):
    """Brute force: every tile's probabilities times its weights, over the sum of the weights."""
    height, width = image.shape[1:]
    shape = np.sin(np.pi * (np.arange(128) + 0.5) / 128) ** 2
    classes = len(LEVELS[checkpoint.load(model)[1].level])
    total, weight = np.zeros((classes, height, width)), np.zeros((height, width))
    for top in tiling.starts(height, overlap):
        for left in tiling.starts(width, overlap):
            place = (slice(top, top + 128), slice(left, left + 128))
            total[:, *place] += probabilities(model, image[None, :, *place])[0] * np.outer(shape, shape)
            weight[place] += np.outer(shape, shape)
    return total / weight


@pytest.mark.parametrize("overlap", [0.5, 0.25, 0])
def test_equals_brute_force(model, tmp_path, overlap):
    files = write_scene(tmp_path, 200, 300)
    layers = run(model, files, tmp_path, overlap=overlap, layers=mapping.LAYERS, batch_size=3)
    wanted = blended(model, image_of(files), overlap)
    assert (layers["classes"] != wanted.argmax(0)).mean() < 1e-3  # rounding may turn a tie
    np.testing.assert_allclose(layers["confidence"], 100 * wanted.max(0), atol=0.51)
    np.testing.assert_allclose(layers["probabilities"], 100 * wanted, atol=0.51)
    second, first = np.sort(wanted, axis=0)[-2:]
    np.testing.assert_allclose(layers["margin"], 100 * (first - second), atol=0.51)
    entropy = -(wanted * np.log(wanted)).sum(0) / np.log(7)
    np.testing.assert_allclose(layers["entropy"], 100 * entropy, atol=0.51)


def test_model_of_both_levels_decides_from_the_top_and_maps_both(tmp_path):
    """On a scene with a hole, of which no pixel's classes contradict each other."""
    model = write_model(tmp_path / "model.pt", level="l2", hierarchical=True)
    content = torch.load(model, weights_only=True)
    for name in ("weight", "bias"):
        content["parameters"][f"segmentation_head.0.{name}"] *= 5  # else all classes are about as likely everywhere
    torch.save(content, model)
    files, image = write_scene(tmp_path, 200, 300), pixels("msi", 200, 300)
    image[3, 20:40, 150:170] = -1
    write_raster(files.msi, image, MSI_BANDS, nodata=-1)
    layers = run(model, files, tmp_path, layers=["probabilities"])
    data = layers["classes"] != 255
    assert (~data).sum() == 400 and (layers["classes_l1"][~data] == 255).all()
    np.testing.assert_array_equal(layers["classes_l1"][data], np.array(PARENTS)[layers["classes"][data]])
    seen = image_of(files)
    seen[:, ~data] = np.array([TRAINED[band]["mean"] for band in MODALITIES["concat"]])[:, None]
    wanted = blended(model, seen, 0.5)
    sums = np.stack([wanted[list(children)].sum(0) for children in CHILDREN])
    assert (layers["classes_l1"] != sums.argmax(0))[data].mean() < 1e-3  # rounding may turn a tie
    assert len(np.unique(sums.argmax(0))) > 2
    assert (np.array(PARENTS)[wanted.argmax(0)] != sums.argmax(0))[data].mean() > 0.01  # what this prevents
    of_class = np.take_along_axis(wanted, np.where(data, layers["classes"], 0)[None].astype(int), 0)[0]
    np.testing.assert_allclose(layers["confidence"][data], 100 * of_class[data], atol=0.51)
    with rasterio.open(tmp_path / "map/classes.tif") as fine, rasterio.open(tmp_path / "map/classes_l1.tif") as coarse:
        assert (coarse.crs, coarse.transform, coarse.shape) == (fine.crs, fine.transform, fine.shape)
        assert coarse.tags()["SCENE"] == fine.tags()["SCENE"] and coarse.tags()["CLASS_2"] == "Agriculture"


def test_augmentation_is_the_mean_over_flips_and_turns(model, tmp_path):
    files = write_scene(tmp_path, 128, 128)
    layers = run(model, files, tmp_path, augment=True, layers=["probabilities"])
    image, found = image_of(files), []
    for turns in range(4):
        for flip in (False, True):
            seen = np.rot90(image, turns, (1, 2))
            out = probabilities(model, (seen[:, :, ::-1] if flip else seen)[None])[0]
            found.append(np.rot90(out[:, :, ::-1] if flip else out, -turns, (1, 2)))
    np.testing.assert_allclose(layers["probabilities"], 100 * np.mean(found, 0), atol=0.51)


def test_without_overlap_it_is_the_mosaic_of_the_same_patches(model, tmp_path):
    """Exactly: classes and confidence of four patches predicted as such and put together."""
    files = write_scene(tmp_path, 256, 256)
    layers = run(model, files, tmp_path, overlap=0, batch_size=2)
    image = image_of(files)
    corners = [(0, 0), (0, 128), (128, 0), (128, 128)]
    patches = np.stack([image[:, top : top + 128, left : left + 128] for top, left in corners])
    header = Header(4, MODALITIES["concat"], ("l1",), "", "")
    store = Store(patches, np.zeros((4, 1, 128, 128), np.uint8), header)
    paths = [tmp_path / f"{name}.npy" for name in ("prediction", "confidence", "edges")]
    predict.predict(model, store, np.arange(4), *paths, batch_size=2)
    table = pd.DataFrame({"id": list("1234"), "crs": "EPSG:32722", "a": 10.0, "b": 0.0, "d": 0.0, "e": -10.0})
    table["c"], table["f"] = [600000 + 10.0 * left for _, left in corners], [8300000 - 10.0 * top for top, _ in corners]
    for path, classes, layer in ((paths[0], LEVELS["l1"], "classes"), (paths[1], None, "confidence")):
        (merged,) = mosaic(table, np.load(path), tmp_path / "mosaic", name=path.stem, classes=classes)
        np.testing.assert_array_equal(read(merged), layers[layer])


@pytest.mark.parametrize(("height", "width"), [(1, 1), (50, 300), (130, 127)])
def test_any_size(model, tmp_path, height, width):
    """Beyond the border of a small scene tiles see its mirror image."""
    files = write_scene(tmp_path, height, width)
    layers = run(model, files, tmp_path, layers=["probabilities"])
    padding = ((0, 0), (0, max(0, 128 - height)), (0, max(0, 128 - width)))
    wanted = blended(model, np.pad(image_of(files), padding, "symmetric"), 0.5)[:, :height, :width]
    np.testing.assert_allclose(layers["probabilities"].reshape(wanted.shape), 100 * wanted, atol=0.51)


def test_no_data_stays_no_data_and_tiles_see_the_training_mean_there(model, tmp_path):
    image = pixels("msi", 300, 200)
    image[3, 150:170, 20:40] = image[:, :140] = -1  # a hole in one band; a whole row of tiles without data
    files = write_scene(tmp_path, 300, 200)
    write_raster(files.msi, image, MSI_BANDS, nodata=-1)
    layers = run(model, files, tmp_path, layers=["probabilities"])
    missing = (image == -1).any(0)
    for layer in layers.values():
        assert (layer[..., missing] == 255).all() and (layer[..., ~missing] <= 100).all()
    seen = image_of(files)
    seen[:, missing] = np.array([TRAINED[band]["mean"] for band in MODALITIES["concat"]])[:, None]
    wanted = blended(model, seen, 0.5)[:, ~missing]
    np.testing.assert_allclose(layers["probabilities"][:, ~missing], 100 * wanted, atol=0.51)


def test_files_open_in_gis(model, tmp_path):
    files = write_scene(tmp_path, 600, 600)
    run(model, files, tmp_path, layers=mapping.LAYERS, overlap=0)
    for name in ("classes", "confidence", *mapping.LAYERS):
        path = tmp_path / f"map/{name}.tif"
        assert cog_validate(path)[0], name
        with rasterio.open(path) as file, rasterio.open(files.msi) as scene:
            assert (file.crs, file.transform, file.shape) == (scene.crs, scene.transform, scene.shape)
            assert (file.nodata, file.overviews(1)) == (255, [2])
            assert file.tags()["SCENE"] == "somewhere" and file.tags()["OVERLAP"] == "0"
            names = [entry.name for entry in LEVELS["l1"]] if name == "probabilities" else [name]
            assert name == "classes" or file.descriptions == tuple(f"{entry} (%)" for entry in names)
    with rasterio.open(tmp_path / "map/classes.tif") as file:
        assert file.colormap(1)[5][:3] == LEVELS["l1"][5].colour and file.tags()["CLASS_5"] == "Water body"
    assert "Water body" in (tmp_path / "map/classes.tif.aux.xml").read_text()


def test_blending_leaves_no_seams(model, tmp_path):
    files = write_scene(tmp_path, 384, 384)
    hills = np.outer(np.sin(np.arange(384) / 30), np.cos(np.arange(384) / 40)) / 2 + 1  # no noise that hides a seam
    for layer, path in (("msi", files.msi), ("sar", files.sar)):
        mean = np.array([TRAINED[band]["mean"] for band in MODALITIES[layer]], np.float32)
        write_raster(path, (mean[:, None, None] * hills).astype(np.float32), MODALITIES[layer])
    for overlap, least, most in ((0.5, 0, 1.05), (0, 1.05, np.inf)):
        layer = run(model, files, tmp_path, overlap=overlap, layers=["probabilities"])["probabilities"]
        assert least < seams(layer, overlap) <= most


class stop_after(nullcontext):
    """Raise when this many blocks of rows were finished; the value lists at which row each began."""

    def __init__(self, blocks):
        super().__init__([])
        self.blocks, self.append = blocks, map_rows.MapRows.append

    def __enter__(self):
        def append(rows, layers):
            if len(self.enter_result) == self.blocks:
                raise RuntimeError("stopped")
            self.enter_result.append(rows.done)
            self.append(rows, layers)

        map_rows.MapRows.append = append
        return self.enter_result

    def __exit__(self, *_):
        map_rows.MapRows.append = self.append


def whole(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("rows", [0, 3])
def test_a_killed_map_goes_on_and_ends_with_the_same_bytes(model, tmp_path, rows):
    """Killed in the middle of writing the next rows."""
    files, settings = write_scene(tmp_path, 400, 200), {"layers": ["margin"]}
    run(model, files, tmp_path, "undisturbed", **settings)
    with pytest.raises(RuntimeError), stop_after(rows):
        run(model, files, tmp_path, "killed", **settings)
    assert not (tmp_path / "killed").exists()
    with (tmp_path / "unfinished/classes.rows").open("ab") as file:
        file.write(b"torn")
    with stop_after(99) as done:
        run(model, files, tmp_path, "killed", **settings)
    assert done == tiling.starts(400, 0.5)[rows:]
    assert whole(tmp_path / "killed") == whole(tmp_path / "undisturbed")


@pytest.mark.parametrize("change", ["settings", "image", "model", "nothing"])
def test_what_was_made_otherwise_is_not_gone_on_from(model, tmp_path, change):
    files = write_scene(tmp_path, 200, 130)
    stopped = {"overlap": 0.25}
    with pytest.raises(RuntimeError), stop_after(1):
        run(model, files, tmp_path, **stopped)
    if change == "settings":
        stopped = {"overlap": 0.3}
    elif change == "image":
        time.sleep(0.01)
        write_scene(tmp_path, 200, 130)
    elif change == "model":
        model = write_model(tmp_path / "other.pt", "msi")
    with stop_after(99) as appended:
        run(model, files, tmp_path, **stopped)
    assert appended[0] == (72 if change == "nothing" else 0)


def test_nothing_reads_on_when_the_scene_is_closed_at_an_error(model, tmp_path, monkeypatch):
    read, ended = scene.Scene.read, []

    def slow(image, window):
        time.sleep(0.3 if window.row_off else 0)  # the row ahead, as a slow disk reads it
        pixels = read(image, window)
        ended.append(window.row_off)
        return pixels

    def fail(*_):
        raise RuntimeError("at the first tiles")

    monkeypatch.setattr(scene.Scene, "read", slow)
    monkeypatch.setattr(mapping, "_probabilities", fail)
    with pytest.raises(RuntimeError, match="first tiles"):
        run(model, write_scene(tmp_path / "scene", 300, 150), tmp_path)
    assert ended == [0, 128]
