"""profiles/slurm in the real workflow, and every fault once, in a real one-node SLURM."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jobs
import psutil
import pytest
import yaml
from killing import processes
from project import REPOSITORY, TINY, Project

BOUND = 420  # s that any run here may take before it is interrupted
TRAINED = [f"unet-concat-nw-l1-tuned-{seed}" for seed in (1, 2, 3)]
TARGETS = [
    "results/benchmark.md",
    f"results/scenarios/{TRAINED[0]}/model_card.md",
    f"results/scenes/unseen/{TRAINED[0]}/map.png",
]  # of every group of steps one, and no more
NODE = {"NODE_CPUS": "16", "NODE_MEM": "32768", "NODE_GPUS": "6"}  # so that nothing but `preempt` pre-empts


STEP = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5), print("saved", flush=True), sys.exit(7)))
print("begun", flush=True)
for _ in range(int(sys.argv[1])):
    time.sleep(0.1)  # a signal just before a long sleep is only seen after it
"""


@pytest.mark.parametrize(("pauses", "code"), [("0", 0), ("150", 1)])
def test_job_script_passes_sigterm_on_waits_and_leaves_a_mark(tmp_path, pauses, code):
    (tmp_path / "step.py").write_text(STEP)
    template = (REPOSITORY / "profiles/slurm/job.sh").read_text()
    step = f"cd {tmp_path} && {sys.executable} step.py {pauses} && exit 0 || exit 1"
    (tmp_path / "job.sh").write_text(template.format(properties="{}", exec_job=step))
    job = subprocess.Popen(
        ["sh", "job.sh"], cwd=tmp_path, env={**os.environ, "SLURM_JOB_ID": "7"}, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert job.stdout and job.stdout.readline() == "begun\n"
    if code:
        job.terminate()  # only the shell, as --signal=B: does
    assert job.wait(20) == code
    assert job.stdout.read() == ("saved\n" if code else "")
    assert (tmp_path / jobs.MARKS / "7").read_text() == f"{code}\n"


def free_ports(count: int) -> int:
    """The first of neighbouring ports that nobody listens on."""
    while True:
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError, OverflowError):
            sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
            sockets[0].bind(("127.0.0.1", 0))
            port = sockets[0].getsockname()[1]
            for place, further in enumerate(sockets[1:], 1):
                further.bind(("127.0.0.1", port + place))
            return port


class Cluster:
    """A SLURM of this test's own, of one node or several, all on this machine."""

    def __init__(self, folder: Path, nodes: int = 1) -> None:
        slurm_of = {"SLURM_DIR": str(folder), "SLURM_CONF": f"{folder}/slurm.conf", "PORT0": str(free_ports(nodes + 1))}
        self.env = {**os.environ, **NODE, "NODES": str(nodes), **slurm_of}

    def node(self, action: str) -> None:
        subprocess.run([REPOSITORY / "tests/one-node-slurm.sh", action], env=self.env, check=True, timeout=120)

    def ask(self, *command: str) -> str:
        return subprocess.run(command, env=self.env, check=True, timeout=60, capture_output=True, text=True).stdout

    def job(self, name: str) -> str | None:
        """Id of the running job with this name."""
        rows = (row.split("|") for row in self.ask("squeue", "-h", "-t", "R", "-o", "%i|%j").splitlines())
        return next((id_ for id_, named in rows if named == f"cerraseg-{name}"), None)


@contextlib.contextmanager
def started(nodes: int = 1) -> Iterator[Cluster]:
    path = f"{os.environ['PATH']}:/usr/sbin"
    if missing := [name for name in ("slurmctld", "slurmd", "munged", "sbatch") if not shutil.which(name, path=path)]:
        pytest.skip(f"{', '.join(missing)} not installed: tests/one-node-slurm.sh install")
    with tempfile.TemporaryDirectory() as folder:  # pytest's are closed to others, which munge refuses
        Path(folder).chmod(0o755)
        made = Cluster(Path(folder) / "slurm", nodes)
        made.node("start")
        try:
            yield made
        finally:
            made.node("stop")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with started() as made:
        yield made


class Story:
    """The tiny matrix in SLURM, with every fault on its way; what was seen is asserted by the tests below."""

    def __init__(self, project: Project, cluster: Cluster) -> None:
        self.project, self.cluster = project, cluster
        self.output = project.folder / "run.txt"
        self.logs = project.folder / "logs/slurm/train"
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str, bound: int = BOUND) -> subprocess.Popen[bytes]:
        with self.output.open("ab") as file:
            process = subprocess.Popen(
                ["timeout", "-k", "60", "-s", "INT", str(bound), *command],
                cwd=self.project.folder, env=self.project.environment(SLURM_CONF=self.cluster.env["SLURM_CONF"]),
                stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.started.append(process)
        return process

    def end(self) -> None:
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)

    def until(self, probe: Callable[[], Any], what: str, seconds: float = 240) -> Any:
        """Wait for what a probe finds."""
        end = time.monotonic() + seconds
        while not (found := probe()):
            assert time.monotonic() < end, f"{what}: not within {seconds} s\n{self.output.read_text()[-5000:]}"
            time.sleep(0.1)
        return found

    def trained_on(self, scenario: str, job: str | None) -> bool:
        """Whether this job of the scenario went on from an earlier one's state."""
        log = self.logs / f"{scenario}-{job}.log"
        return log.exists() and "going on from the state" in log.read_text()

    def last_job(self, scenario: str) -> str:
        """Id of the scenario's last job."""
        return max((log.stem.rsplit("-", 1)[1] for log in self.logs.glob(f"{scenario}-*.log")), key=int)

    def hold(self, *scenarios: str) -> list[str]:
        """Stop the clock of each scenario's job as soon as it trains on from an earlier state; their ids."""
        held: dict[str, str] = {}

        def all_held() -> bool:
            for scenario in set(scenarios) - set(held):
                job = self.cluster.job(f"train-{scenario}")
                if job and self.trained_on(scenario, job):
                    freeze(job)
                    held[scenario] = job
            return len(held) == len(scenarios)

        self.until(all_held, f"{scenarios} go on")
        return [held[scenario] for scenario in scenarios]


def job_processes(job: str, program: str, node: str = "") -> list[psutil.Process]:
    """Those in a job, on one of its nodes, whose command names a program."""
    of = {"SLURM_JOB_ID": job} | ({"SLURMD_NODENAME": node} if node else {})
    return processes(lambda found: of.items() <= found.environ().items() and program in " ".join(found.cmdline()))


def freeze(job: str) -> None:
    """Stop the training in a job, so that it is still there when its fault comes."""
    for process in job_processes(job, "train.py"):
        with contextlib.suppress(psutil.Error):
            process.suspend()


def fault_profile(project: Project) -> None:
    """What a site edits, for one small node, and the faults: seed 2 has too little memory, then too little time, and
    seed 3 may be pre-empted."""
    file = project.folder / "profiles/slurm/config.yaml"
    profile = yaml.safe_load(file.read_text())
    profile |= {"seconds-between-status-checks": 2, "latency-wait": 10}
    profile["default-resources"] |= {"mem_mb": 2000, "runtime": 5}
    profile["set-threads"] = {"train": 1, "predict": 1, "mosaic": 1, "pack": 1}
    for rule in profile["set-resources"].values():
        rule |= {"mem_mb": 2000, "runtime": 10}
    second = "wildcards.scenario.endswith('-2') and attempt"
    profile["set-resources"]["train"] |= {
        "mem_mb": f"200 if {second} == 1 else 2000",
        "runtime": f"1 if {second} == 2 else 10",
        "partition": "'low' if wildcards.scenario.endswith('-3') else 'gpu'",
        "sbatch": f"'' if {second} == 2 else '--signal=B:TERM@120'",
    }
    file.write_text(yaml.safe_dump(profile))


def test_shipped_profile_gives_steps_their_resources(tmp_path):
    project = Project(tmp_path / "project", TINY)
    project.where = ("--workflow-profile", "profiles/slurm")
    plan = project.run("-n")
    assert "mem_mb=16000" in (train := plan.split("rule train:")[1].split("rule ")[0])
    assert "partition=gpu, runtime=720, gpu=1, sbatch=--signal=B:TERM@120" in train
    assert "partition=cpu, runtime=60" in plan.split("rule simulate:")[1].split("rule ")[0]
    assert not (project.folder / "logs").exists()


def test_run_is_refused_while_slurm_cannot_say_what_still_writes(tmp_path):
    project = Project(tmp_path / "project", TINY)
    (project.folder / "logs/slurm").mkdir(parents=True)
    (tmp_path / "squeue").write_text("#!/bin/sh\necho 'Unable to contact slurm controller' >&2\nexit 1\n")
    (tmp_path / "squeue").chmod(0o755)
    path = f"{tmp_path}:{project.environment()['PATH']}"
    assert project.planned("results/manifest.json") == {"simulate": 1}  # to look is allowed
    assert "Unable to contact slurm controller" in project.run("results/manifest.json", ok=False, PATH=path)
    (project.folder / "logs/slurm").rmdir()
    project.run("results/manifest.json", PATH=path)  # no job was ever sent from here, so nobody is asked


def test_profile_without_slurm_is_refused_at_the_start(tmp_path):
    project = Project(tmp_path / "project", TINY)
    project.where = ("--workflow-profile", "profiles/slurm")
    (tmp_path / "bin").mkdir()
    for program in ("sh", "bash", "git"):
        (tmp_path / "bin" / program).symlink_to(shutil.which(program))
    refused = project.run("results/manifest.json", ok=False, PATH=str(tmp_path / "bin"))
    assert "no sbatch" in refused and "Submitted" not in refused and not (project.folder / "logs/slurm").exists()


@pytest.fixture(scope="module")
def configuration() -> dict:
    scenarios = TINY["scenarios"] | {"seeds": [1, 2, 3], "extra": []}
    scene = TINY["scenes"][0] | {"scenarios": TRAINED[:1]}
    return TINY | {"scenarios": scenarios, "scenes": [scene], "training": TINY["training"] | {"epochs": 5}}


@pytest.fixture(scope="module")
def story(cluster: Cluster, configuration: dict, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    made = Story(Project(tmp_path_factory.mktemp("slurm-work") / "project", configuration), cluster)
    fault_profile(made.project)
    made.project.where = ("--workflow-profile", "profiles/slurm")
    try:
        kill_the_controller(made)
        recover(made)
        yield made
    finally:
        made.end()


def kill_the_controller(story: Story) -> None:
    controller = story.start(*story.project.command(*TARGETS))
    for scenario in (TRAINED[0], TRAINED[2], TRAINED[1]):
        state = story.project.folder / f"results/resume/{scenario}/last.ckpt"
        story.until(state.exists, f"first epoch of {scenario}")
        freeze(story.cluster.job(f"train-{scenario}") or "")
    os.killpg(controller.pid, signal.SIGKILL)
    controller.wait()
    story.orphans = story.cluster.ask("squeue", "-h", "-t", "R", "-o", "%j").split()
    story.locked = story.project.run(ok=False, **story.cluster.env)
    story.project.run("--unlock", **story.cluster.env)
    story.refused = story.project.run(ok=False, **story.cluster.env)
    story.still = story.cluster.ask("squeue", "-h", "-t", "R", "-o", "%j").split()


def recover(story: Story) -> None:
    begun = time.monotonic()
    script = REPOSITORY / "profiles/slurm/recover.py"
    controller = story.start(sys.executable, str(script), *story.project.command(*TARGETS))
    story.cancelled, story.preempted = story.hold(TRAINED[0], TRAINED[2])
    preempt(story)
    story.cluster.ask("scancel", story.cancelled)
    (story.late,) = story.hold(TRAINED[1])
    mark = story.project.folder / jobs.MARKS / story.preempted

    def ended() -> bool:  # the job: a checkpoint is there some seconds before, and a lost node would take the job along
        return mark.exists() and mark.read_text() == "0\n" and not story.cluster.job(f"train-{TRAINED[2]}")

    story.until(ended, "end of the pre-empted training")
    story.cluster.node("down")
    time.sleep(20)
    story.cluster.node("up")
    story.code = controller.wait(BOUND + 60)
    story.seconds = time.monotonic() - begun


def preempt(story: Story) -> None:
    """A job of a higher partition takes the GPU that the low one holds."""
    used = story.cluster.ask("squeue", "-h", "-t", "R", "-p", "gpu", "-o", "%i").split()
    gpus = int(NODE["NODE_GPUS"]) - len(used)
    story.cluster.ask("sbatch", "-p", "gpu", f"--gres=gpu:{gpus}", "-o", "/dev/null", "--wrap", "sleep 3")


@pytest.mark.ci
def test_plain_rerun_beside_orphans_is_refused(story):
    assert f"cerraseg-train-{TRAINED[0]}" in story.orphans and story.still == story.orphans
    assert "LockException" in story.locked
    assert "still in SLURM and write here" in story.refused and f"cerraseg-train-{TRAINED[0]}" in story.refused
    assert "make slurm-recover" in story.refused


@pytest.mark.ci
def test_recovered_run_finishes_within_its_bound(story):
    assert story.code == 0, story.output.read_text()[-5000:]
    assert story.seconds < BOUND
    assert "cancelling" in story.output.read_text()
    assert story.cluster.ask("squeue", "-h") == ""


@pytest.mark.ci
def test_cancelled_training_goes_on(story):
    said = story.output.read_text()
    assert f"SLURM job {story.cancelled} ended as " in said
    assert story.trained_on(TRAINED[0], story.last_job(TRAINED[0])) and story.last_job(TRAINED[0]) != story.cancelled


@pytest.mark.ci
def test_training_over_its_memory_gets_more(story):
    assert "Exceeded job memory limit" in story.output.read_text()


@pytest.mark.ci
def test_training_over_its_time_goes_on_with_more(story):
    assert f"SLURM job {story.late} ended as TIMEOUT" in story.output.read_text()
    assert story.trained_on(TRAINED[1], story.last_job(TRAINED[1])) and story.last_job(TRAINED[1]) != story.late


@pytest.mark.ci
def test_preempted_training_is_requeued_and_goes_on(story):
    log = (story.logs / f"{TRAINED[2]}-{story.preempted}.log").read_text()
    assert "DUE TO PREEMPTION" in log
    assert log.count("going on from the state") == 2, log
    assert story.last_job(TRAINED[2]) == story.preempted, story.output.read_text()[-20000:]


def test_results_equal_a_local_run(story, configuration, tmp_path):
    local = Project(tmp_path / "project", configuration)
    local.run(*TARGETS)
    files = [f"results/benchmark{name}" for name in (".csv", ".md", "_classes.csv", "_pairs.csv")]
    for scenario in TRAINED:
        files += [f"results/models/{scenario}/{name}.pt" for name in ("checkpoint", "last")]
        files += [f"results/scenarios/{scenario}/{name}.npy" for name in ("prediction", "edges")]
        files.append(f"results/histories/{scenario}.csv")
    files += [f"results/scenes/unseen/{TRAINED[0]}/{name}" for name in ("map/classes.tif", "polygons.gpkg", "map.png")]
    for file in files:
        assert story.project.read(file) == local.read(file), file
