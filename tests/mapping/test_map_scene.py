"""Maps of scenes: exact where they can be checked, whole or absent, resumable, and without seams."""

import time
from dataclasses import replace

import numpy as np
import pytest
import rasterio
import torch
from placed import read
from scenes import CERRADATA, TRAINED, pixels, write_model, write_raster, write_scene

from cerraseg.mapping import scene
from cerraseg.mapping.map_files import MapRows
from cerraseg.mapping.map_scene import Settings, map_scene
from cerraseg.mapping.tiles import LAYERS, tile_starts
from cerraseg.models import checkpoint


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "model.pt")


def run(model, files, folder, name="map", **settings):
    tags = {"SCENE": files.name}
    map_scene(model, files, folder / name, folder / "unfinished", Settings(**settings), CERRADATA, tags)
    assert not (folder / "unfinished").exists()
    return {path.stem: read(path) for path in (folder / name).glob("*.tif")}


def image_of(files):
    return np.concatenate([read(files.images["msi"].files[0]), read(files.images["sar"].files[0])])


def probabilities(model, tiles):
    with torch.inference_mode():
        return checkpoint.load(model)[0](torch.from_numpy(np.ascontiguousarray(tiles)))[0].softmax(1).numpy()


def blended(model, image, overlap):
    """Brute force: every tile's probabilities times its weights, over the sum of the weights."""
    height, width = image.shape[1:]
    shape = np.sin(np.pi * (np.arange(128) + 0.5) / 128)
    classes = len(CERRADATA.classes(checkpoint.load(model)[1].level))
    total, weight = np.zeros((classes, height, width)), np.zeros((height, width))
    for top in tile_starts(height, 128, overlap):
        for left in tile_starts(width, 128, overlap):
            place = (slice(top, top + 128), slice(left, left + 128))
            total[:, *place] += probabilities(model, image[None, :, *place])[0] * np.outer(shape, shape)
            weight[place] += np.outer(shape, shape)
    return total / weight


def test_tiles_cover_a_side():
    assert tile_starts(512, 128, 0) == [0, 128, 256, 384]
    assert tile_starts(500, 128, 0) == [0, 128, 256, 372]  # the last ends where the side ends
    assert tile_starts(320, 128, 0.5) == [0, 64, 128, 192]
    assert tile_starts(128, 128, 0.5) == tile_starts(70, 128, 0.5) == tile_starts(1, 128, 0) == [0]
    assert tile_starts(129, 128, 0.5) == [0, 1]
    assert tile_starts(200, 128, 0.9) == [0, 13, 26, 39, 52, 65, 72]
    assert tile_starts(200, 64, 0.5) == [0, 32, 64, 96, 128, 136]


@pytest.mark.parametrize("overlap", [0.5, 0.25, 0])
def test_equals_brute_force(model, tmp_path, overlap):
    files = write_scene(tmp_path, 200, 300)
    layers = run(model, files, tmp_path, overlap=overlap, layers=LAYERS, batch_size=3)
    wanted = blended(model, image_of(files), overlap)
    assert (layers["classes"] != wanted.argmax(0)).mean() < 1e-3  # rounding may turn a tie
    np.testing.assert_allclose(layers["confidence"], 100 * wanted.max(0), atol=0.51)
    np.testing.assert_allclose(layers["probabilities"], 100 * wanted, atol=0.51)
    second, first = np.sort(wanted, axis=0)[-2:]
    np.testing.assert_allclose(layers["margin"], 100 * (first - second), atol=0.51)
    entropy = -(wanted * np.log(wanted)).sum(0) / np.log(7)
    np.testing.assert_allclose(layers["entropy"], 100 * entropy, atol=0.51)


def test_model_of_both_levels_decides_from_the_top_and_maps_both(tmp_path):
    model = write_model(tmp_path / "model.pt", level="l2", hierarchical=True)
    content = torch.load(model, weights_only=True)
    for name in ("weight", "bias"):
        content["parameters"][f"segmentation_head.0.{name}"] *= 5  # else all classes are about as likely everywhere
    torch.save(content, model)
    files, parents = write_scene(tmp_path, 200, 300), np.array(CERRADATA.ancestors("l2")["l1"])
    layers = run(model, files, tmp_path)
    wanted = blended(model, image_of(files), Settings.overlap)
    sums = np.stack([wanted[parents == parent].sum(0) for parent in range(7)])
    assert (layers["classes_l1"] != sums.argmax(0)).mean() < 1e-3  # rounding may turn a tie
    assert len(np.unique(sums.argmax(0))) > 2
    assert (parents[wanted.argmax(0)] != sums.argmax(0)).mean() > 0.01  # what this prevents
    np.testing.assert_array_equal(layers["classes_l1"], parents[layers["classes"]])
    of_class = np.take_along_axis(wanted, layers["classes"][None].astype(int), 0)[0]
    np.testing.assert_allclose(layers["confidence"], 100 * of_class, atol=0.51)
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


@pytest.mark.parametrize(("height", "width"), [(1, 1), (50, 300), (130, 127)])
def test_any_size(model, tmp_path, height, width):
    """Beyond the border of a small scene tiles see its mirror image."""
    files = write_scene(tmp_path, height, width)
    layers = run(model, files, tmp_path, layers=["probabilities"], overlap=0.9)
    padding = ((0, 0), (0, max(0, 128 - height)), (0, max(0, 128 - width)))
    wanted = blended(model, np.pad(image_of(files), padding, "symmetric"), 0.9)[:, :height, :width]
    np.testing.assert_allclose(layers["probabilities"].reshape(wanted.shape), 100 * wanted, atol=0.51)


def test_no_data_stays_no_data_and_tiles_see_the_training_mean_there(model, tmp_path):
    image = pixels("msi", 300, 200)
    image[3, 150:170, 20:40] = image[:, :140] = -1  # a hole in one band; a whole row of tiles without data
    files = write_scene(tmp_path, 300, 200)
    write_raster(files.images["msi"].files[0], image, CERRADATA.bands("msi"), nodata=-1)
    layers = run(model, files, tmp_path, layers=["probabilities"])
    missing = (image == -1).any(0)
    for layer in layers.values():
        assert (layer[..., missing] == 255).all() and (layer[..., ~missing] <= 100).all()
    seen = image_of(files)
    seen[:, missing] = np.array([TRAINED[band]["mean"] for band in CERRADATA.bands()])[:, None]
    wanted = blended(model, seen, Settings.overlap)[:, ~missing]
    np.testing.assert_allclose(layers["probabilities"][:, ~missing], 100 * wanted, atol=0.51)


def test_every_layer_lies_on_the_scene_and_names_its_bands(model, tmp_path):
    files = write_scene(tmp_path, 130, 140)
    run(model, files, tmp_path, layers=LAYERS, overlap=0)  # set and disagreement are of others
    bands = {name: (f"{name} (%)",) for name in ("confidence", *LAYERS[:3])} | {"classes": ("land cover",)}
    assert {path.stem for path in (tmp_path / "map").glob("*.tif")} == {*bands}
    bands["probabilities"] = tuple(f"{entry.name} (%)" for entry in CERRADATA.classes("l1"))
    for name, names in bands.items():
        with rasterio.open(tmp_path / f"map/{name}.tif") as file, rasterio.open(files.images["msi"].files[0]) as source:
            assert (file.crs, file.transform, file.shape) == (source.crs, source.transform, source.shape)
            assert (file.tags()["SCENE"], file.tags()["OVERLAP"], file.descriptions) == ("somewhere", "0", names)


def test_class_sets_and_disagreement_are_mapped(tmp_path):
    """Two members, the second of the same parameters with another temperature."""
    segmenter, blueprint, _ = checkpoint.load(write_model(tmp_path / "one.pt"))
    given = {"method": "temperature", "scale": [9.0] * 7, "bias": [0.0] * 7, "least": [0.05 * k for k in range(7)]}
    members = tuple(vars(replace(blueprint, calibration=found)) for found in ({}, given))
    whole = replace(blueprint, settings={}, mean=(), std=(), calibration=given | {"scale": [1.0] * 7}, members=members)
    state = segmenter.net.state_dict()
    checkpoint.save(tmp_path / "m.pt", whole, {f"{k}.{name}": v for k in (0, 1) for name, v in state.items()}, {})
    files = write_scene(tmp_path, 200, 140)
    layers = run(tmp_path / "m.pt", files, tmp_path, layers=LAYERS)
    wanted = blended(tmp_path / "m.pt", image_of(files), Settings.overlap)
    np.testing.assert_allclose(layers["probabilities"], 100 * wanted, atol=0.51)
    possible = wanted >= np.array(given["least"])[:, None, None]
    assert (layers["set"][1:] != possible).mean() < 1e-3 and layers["set"][1].all()
    np.testing.assert_array_equal(layers["set"][0], layers["set"][1:].sum(0))
    with rasterio.open(tmp_path / "map/set.tif") as file:
        assert file.descriptions == ("number of classes", *(entry.name for entry in CERRADATA.classes("l1")))
    assert 0 < layers["disagreement"].max() <= 100


def record_rows(monkeypatch, stop_after=99):
    """At which row each addition to a map began, once it has run; after so many the map is stopped."""
    append, began = MapRows.append, []

    def recorded(rows, layers):
        if len(began) == stop_after:
            raise InterruptedError
        began.append(rows.done)
        append(rows, layers)

    monkeypatch.setattr(MapRows, "append", recorded)
    return began


def stop(monkeypatch, blocks, *args, **settings):
    with pytest.raises(InterruptedError), monkeypatch.context() as patched:
        record_rows(patched, blocks)
        run(*args, **settings)


@pytest.mark.parametrize("blocks", [0, 3])
def test_a_killed_map_goes_on_and_ends_with_the_same_bytes(model, tmp_path, monkeypatch, blocks):
    """Killed in the middle of writing the next rows."""
    files = write_scene(tmp_path, 400, 200)
    run(model, files, tmp_path, "undisturbed", layers=["margin"])
    stop(monkeypatch, blocks, model, files, tmp_path, "killed", layers=["margin"])
    assert not (tmp_path / "killed").exists()
    with (tmp_path / "unfinished/classes.rows").open("ab") as file:
        file.write(b"torn")
    began = record_rows(monkeypatch)
    run(model, files, tmp_path, "killed", layers=["margin"])
    assert began == tile_starts(400, 128, Settings.overlap)[blocks:]
    for path in (tmp_path / "undisturbed").iterdir():
        assert (tmp_path / "killed" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("change", ["settings", "image", "model", "nothing"])
def test_what_was_made_otherwise_is_not_gone_on_from(model, tmp_path, monkeypatch, change):
    files = write_scene(tmp_path, 200, 130)
    stop(monkeypatch, 1, model, files, tmp_path, overlap=0.25)
    if change == "image":
        time.sleep(0.01)
        write_scene(tmp_path, 200, 130)
    elif change == "model":
        model = write_model(tmp_path / "other.pt", "msi")
    began = record_rows(monkeypatch)
    run(model, files, tmp_path, overlap=0.3 if change == "settings" else 0.25)
    assert began[0] == (72 if change == "nothing" else 0)


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
    monkeypatch.setattr("cerraseg.mapping.tiles.tile_shares", fail)
    with pytest.raises(RuntimeError, match="first tiles"):
        run(model, write_scene(tmp_path / "scene", 300, 150), tmp_path)
    assert ended[-2:] == [0, 128]  # before them, samples
