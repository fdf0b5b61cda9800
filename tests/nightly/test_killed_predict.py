"""A prediction that is killed after a setting has changed: the same command ends with the new scores, not the old."""

import os
import re
import signal
import subprocess
import time

import killing
from project import TINY, TUNED

MADE = [f"results/scenarios/{TUNED}/prediction.npy", f"results/scores/{TUNED}/metrics.json", "results/benchmark.csv"]
MADE += [f"results/scenarios/{TUNED}/mosaic/prediction_epsg4326.tif", "results/overview.html"]


def test_a_killed_prediction_leaves_no_old_scores_behind(project):
    before = {path: (project.folder / path).stat().st_mtime_ns for path in MADE}
    scenarios = TINY["scenarios"] | {"extra": []}
    known = set((project.folder / killing.SCRIPTS).iterdir())
    project.configure(
        TINY | {"scenes": [], "scenarios": scenarios, "predict": {"geotiffs": True, "precision": "bfloat16"}}
    )
    with subprocess.Popen(
        project.command(), cwd=project.folder, env=project.environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        while not (job := killing.process_of("predict", project, known)):
            assert process.poll() is None
            time.sleep(0.005)
        os.kill(job, signal.SIGKILL)
        said = process.communicate()[0]
    assert process.returncode == 1 and "Error in rule predict" in said
    assert not (project.folder / MADE[0]).exists()
    ran = set(re.findall(r"^(?:local)?rule (\w+):", project.run(), re.MULTILINE))
    assert {"predict", "evaluate", "mosaic", "areas", "scenario_figures", "benchmark", "overview"} <= ran
    assert not {"train", "pack"} & ran
    assert all((project.folder / path).stat().st_mtime_ns > before[path] for path in MADE)
    assert project.planned() == {}
