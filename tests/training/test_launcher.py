"""Several devices end where one does; a signal or a lost process ends a training in order. On CPUs, with gloo."""

import dataclasses
import os
import random
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import arrays
from project import REPOSITORY
from test_train import outputs, plan, run

from cerraseg.core.errors import ConfigError
from cerraseg.models.checkpoint import Blueprint, Segmenter
from cerraseg.training import losses
from cerraseg.training.distributed import launcher
from cerraseg.training.distributed.launcher import DeviceError
from cerraseg.training.distributed.sync import Team

EXACT = "transnuseg-sar-nw-l2-paper-1"  # without batch norm, float error does not grow from epoch to epoch
MODELS = {
    "unet": Blueprint("unet", plan().settings, "concat", "l1"),  # timm's encoder: batch norm with an activation in it
    "transnuseg": Blueprint("transnuseg", plan(EXACT).settings | {"drop_path": 0.5}, "concat", "l1"),
    "own": Blueprint(  # dropout, and batch norm behind a global pooling
        "own",
        {
            "architecture": "DeepLabV3Plus",
            "encoder": "tu-mobilenetv3_small_100",
            "options": {"decoder_channels": 16},
            "fusion": "late",
        },
        "concat",
        "l1",
    ),
}
CASES = [(model, patches) for model in MODELS for patches in (3, 1)]


def steps(team):
    """Model and size of batch → logits, then gradients and buffers by name, of a training step in double precision."""
    found = {}
    for model, patches in CASES:
        torch.manual_seed(0)
        segmenter = Segmenter(MODELS[model]).double()
        team.join(segmenter)
        images = torch.randn(patches, 14, 128, 128, dtype=torch.float64)
        masks = torch.randint(7, (patches, 128, 128))
        team.patches = patches
        logits = team.whole(segmenter(images[team.held(patches)])[0])
        losses.cross_entropy(logits, masks, torch.arange(7.0).double()).backward()
        team.add_gradients(segmenter.parameters())
        gradients = {name: p.grad for name, p in segmenter.named_parameters() if p.grad is not None}
        found[model, patches] = {"logits": logits.detach()} | gradients | dict(segmenter.named_buffers())
    return found


def steps_in_team(team, file):
    found = steps(team)
    if team.rank == 1:
        torch.save(found, file)
    team.agree(None)
    raise ConfigError(f"both of {team.count} are through")


@pytest.mark.drill
def test_two_devices_compute_what_one_does_and_errors_come_out_as_they_are(tmp_path):
    with pytest.raises(ConfigError, match=r"^both of 2 are through$"):
        launcher.run(steps_in_team, 2, tmp_path / "two.pt")
    one, two = steps(Team()), torch.load(tmp_path / "two.pt", weights_only=True)
    for case in CASES:
        assert one[case].keys() == two[case].keys(), case
        for name, expected in one[case].items():
            torch.testing.assert_close(two[case][name], expected, rtol=1e-7, atol=1e-10, msg=f"{case} {name}")


def test_each_patch_is_computed_once():
    for patches in range(12):
        for count in (1, 2, 3, 5):
            shares = [Team(rank, count, patches).share for rank in range(count)]
            assert [k for share in shares for k in range(patches)[share]] == list(range(patches))
            held = [len(range(patches)[Team(rank, count).held(patches)]) for rank in range(count)]
            assert not patches or (min(held) > 0 and max(held) <= -(-patches // count))


def test_fewer_gpus_than_promised_is_a_clear_error(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert [launcher.granted(gpus) for gpus in (0, 1)] == [1, 1]
    assert caplog.messages == ["the resource gpu of train is 1, but this job sees no GPU; training on the CPU"]
    with pytest.raises(
        ConfigError, match=r"gpu of train is 2, but this job sees 0 GPUs; .*--set-resources train:gpu=1"
    ):
        launcher.granted(2)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert [launcher.granted(gpus) for gpus in (0, 1, 3)] == [1, 1, 3]


def kill_one_after_an_epoch(state):
    while not state.exists():
        time.sleep(0.01)
    next(child for child in active_children() if "device 2" in child.name).kill()


@pytest.mark.drill
def test_lost_process_ends_all_and_the_next_start_ends_as_one_device_does(packed, tmp_path, caplog):
    """A step of five patches, then one of one, so that a process has none; every epoch but the first rolls back."""
    caplog.set_level("INFO", "cerraseg")
    recipe = dataclasses.replace(plan(EXACT).recipe, rollback=True, select_on="val_macro_f1")
    what = plan(EXACT, recipe=recipe, batch_size=5)
    one = run(packed, tmp_path / "one", what)
    both = dataclasses.replace(what, devices=2)
    killer = threading.Thread(target=kill_one_after_an_epoch, args=(tmp_path / "two/resume/last.ckpt",))
    killer.start()
    with pytest.raises(DeviceError, match="the process of device 2 of 2 was ended by SIGKILL, and the others with it"):
        run(packed, tmp_path / "two", both)
    killer.join()
    assert not active_children()
    caplog.clear()
    two = run(packed, tmp_path / "two", both)
    assert "going on from the state" in caplog.text and "epoch 3/3" in caplog.text and "best epoch" in caplog.text
    expected, found = pd.read_csv(one.history), pd.read_csv(two.history)
    pd.testing.assert_frame_equal(found, expected, rtol=1e-3)
    assert expected["selected"].tolist() == [True, False, False]
    for name in ("best", "last"):
        first, second = (torch.load(getattr(made, name), weights_only=True)["parameters"] for made in (one, two))
        assert first.keys() == second.keys()
        for key in first:
            np.testing.assert_allclose(second[key], first[key], atol=1e-3, err_msg=key)


def alike(found, expected, rtol=1e-4):
    """Two devices' sums are in another order than one's; seen: equal in all six written digits over eight epochs."""
    pd.testing.assert_frame_equal(pd.read_csv(found.history), pd.read_csv(expected.history), rtol=rtol)


@pytest.mark.drill
@pytest.mark.parametrize(("ema", "accumulate"), [(0.0, 1), (0.9, 2)])
def test_history_of_two_devices_is_that_of_one(packed, tmp_path, ema, accumulate):
    recipe = dataclasses.replace(plan(EXACT).recipe, ema=ema)
    what = plan(EXACT, recipe=recipe, accumulate=accumulate)
    one = run(packed, tmp_path / "one", what)
    two = run(packed, tmp_path / "two", dataclasses.replace(what, devices=2))
    alike(two, one)
    first, second = (torch.load(made.last, weights_only=True)["parameters"] for made in (one, two))
    for key in first:
        np.testing.assert_allclose(second[key], first[key], atol=1e-3, err_msg=key)


@pytest.mark.drill
@pytest.mark.parametrize("again", [2, 1])
def test_killed_at_any_moment_any_number_of_devices_goes_on(packed, tmp_path, again):
    what = plan(EXACT, epochs=12, batch_size=2)
    one = run(packed, tmp_path / "one", what)
    process = step(packed, tmp_path, dataclasses.replace(what, devices=2))
    while not (tmp_path / "resume/last.ckpt").exists():
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(random.uniform(0, 3))  # an epoch takes half a second
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 20
    while is_running(process.pid):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert not outputs(tmp_path).history.exists()
    alike(run(packed, tmp_path, dataclasses.replace(what, devices=again)), one)


STEP = """
from types import SimpleNamespace
from cerraseg.training.distributed import launcher as devices
devices.granted = lambda asked: asked
class Named(dict):
    __getattr__ = dict.__getitem__
snakemake = SimpleNamespace(
    log=[{log!r}], threads=1, resources={{"gpu": {devices}}},
    params=Named(
        scenario={scenario!r}, recipe={recipe!r}, settings={settings!r}, code="", resume={resume!r},
        training={{"epochs": {epochs}, "batch_size": 2}},
    ),
    input=Named(images={images!r}, masks={masks!r}, header={header!r}, split={split!r}, statistics={stats!r}),
    output=Named(best={best!r}, last={last!r}, history={history!r}),
)
"""


def step(packed, folder, what):
    """The training step's script as Snakemake would run it, in a session of its own and with SLURM's variables."""
    made, (images, masks, header) = outputs(folder), map(str, arrays(packed))
    preamble = STEP.format(
        log=str(folder / "log"), devices=what.devices, scenario=vars(what.scenario), recipe=vars(what.recipe),
        settings=what.settings, resume=str(folder / "resume"), epochs=what.epochs, images=images, masks=masks,
        header=header, split=str(packed / "split.csv"), stats=str(packed / "statistics.json"),
        **{name: str(path) for name, path in vars(made).items()},
    )  # fmt: skip
    script = folder / "tmp123.train.py"
    script.write_text(preamble + (REPOSITORY / "workflow/scripts/train.py").read_text())
    slurm = {"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "train", "SLURM_PROCID": "0", "SLURM_JOB_ID": "none"}
    env = os.environ | slurm | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen([sys.executable, script], env=env, start_new_session=True, stderr=subprocess.DEVNULL)


def is_running(group: int) -> bool:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(of) == group and state != "Z":
            return True
    return False


@pytest.mark.drill
@pytest.mark.parametrize(("count", "whole_group"), [(1, True), (2, False)])
def test_sigterm_ends_the_step_and_the_next_start_goes_on(packed, tmp_path, count, whole_group):
    name = EXACT if count == 2 else plan().scenario.id
    what = plan(name, epochs=12, batch_size=2, devices=count)
    process = step(packed, tmp_path, what)
    while not (tmp_path / "resume/last.ckpt").exists():
        assert process.poll() is None
        time.sleep(0.01)
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGTERM)
    sent = time.monotonic()
    assert process.wait(timeout=60) == 1
    assert time.monotonic() - sent < 15
    last = (tmp_path / "log").read_text().splitlines()[-1]
    done = len(torch.load(tmp_path / "resume/last.ckpt", weights_only=True)["history"])
    resume = tmp_path / "resume"
    went_on = f"its state is in {resume}, the next start goes on from there"
    assert last.endswith(f"ERROR stopped by SIGTERM after epoch {done} of 12; {went_on}")
    while is_running(process.pid):
        assert time.monotonic() - sent < 20
        time.sleep(0.05)
    if count == 1:
        whole, resumed = run(packed, tmp_path / "whole", what), run(packed, tmp_path, what)
        for made in ("best", "last", "history"):
            assert getattr(whole, made).read_bytes() == getattr(resumed, made).read_bytes(), made
