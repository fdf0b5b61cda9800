"""What the scripts of profiles/slurm make of SLURM's answers."""

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace

import jobs
import pytest
import recover
import status
import submit

OUTAGE = jobs.SlurmError("squeue: Unable to contact slurm controller (connect failure)")


class Fake:
    """Stands for SLURM's programs: program → its answers (lines or an error), of which the last is given again."""

    def __init__(self, monkeypatch):
        self.answers, self.calls = {"sacct": [jobs.SlurmError("sacct: storage is disabled")], "scancel": [[]]}, []
        for module in (jobs, submit, status, recover):
            monkeypatch.setattr(module, "ask", self)
        monkeypatch.setattr(time, "sleep", lambda seconds: None)
        cancel = SimpleNamespace(run=lambda command, check: self.calls.append(command))
        monkeypatch.setattr(status, "subprocess", cancel)

    def __call__(self, *command):
        self.calls.append(command)
        answers = self.answers[command[0]]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, jobs.SlurmError):
            raise answer
        return answer

    def of(self, program):
        return [command for command in self.calls if command[0] == program]


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Fake(monkeypatch)


def later(seconds):
    """Let the files that remember a time be so much older."""
    for path in (status.ANSWER, jobs.MARKS / "7.lost"):
        if path.exists():
            os.utime(path, (0, path.stat().st_mtime - seconds))


@pytest.mark.parametrize(
    ("row", "mark", "expected"),
    [
        ("7|PENDING|BeginTime", 1, "running"),  # requeued: the mark is of the run before
        ("7|COMPLETING|None", 0, "running"),  # until its last process has ended
        ("7|COMPLETED|None", None, "success"),
        ("7|TIMEOUT|None", 0, "success"),  # pre-empted in its last second
        ("7|NODE_FAIL|None", 0, "success"),
        ("7|TIMEOUT|None", 1, "failed"),
        ("7|CANCELLED by 1000|None", None, "failed"),
        ("7|OUT_OF_MEMORY|OutOfMemory", None, "failed"),
        ("8|RUNNING|None", None, "running"),
        ("8|RUNNING|None", 0, "success"),
        ("8|RUNNING|None", 1, "failed"),
    ],
)
@pytest.mark.parametrize("program", ["sacct", "squeue"])
def test_state(slurm, program, row, mark, expected):
    slurm.answers[program] = [[row]]
    if mark is not None:
        jobs.MARKS.mkdir(parents=True)
        (jobs.MARKS / "7").write_text(f"{mark}\n")
    assert status.status("7") == expected


@pytest.mark.parametrize(
    "row",
    ["7|NODE_FAIL|None", "8|RUNNING|None", "7|PENDING|PartitionTimeLimit", "7|PENDING|launch failed requeued held"],
)
def test_doubtful_state_fails_after_the_grace(slurm, capsys, row):
    slurm.answers["squeue"] = [[row]]
    assert status.status("7") == "running"
    later(status.GRACE - 10)
    assert status.status("7") == "running"
    later(20)
    assert status.status("7") == "failed"
    assert "SLURM job 7" in capsys.readouterr().err
    assert bool(slurm.of("scancel")) == ("PENDING" in row)


def test_doubt_ends_when_the_job_is_requeued(slurm):
    for row in ("7|PREEMPTED|None", "7|RUNNING|None", "7|PREEMPTED|None"):
        slurm.answers["squeue"] = [[row]]
        assert status.status("7") == "running"
        later(status.GRACE - 10)


def test_one_answer_does_for_all_jobs(slurm):
    slurm.answers["squeue"] = [[f"{job}|RUNNING|None" for job in range(72)]]
    assert {status.status(str(job)) for job in range(72)} == {"running"}
    assert len(slurm.of("squeue")) == 1


def test_silent_slurm_means_running_and_a_failure_names_log_and_reason(slurm, capsys):
    slurm.answers["squeue"] = [OUTAGE, ["7|FAILED|NonZeroExitCode"]]
    assert status.status("7") == "running"
    assert "Unable to contact" in capsys.readouterr().err
    log = jobs.LOGS / "train/some-scenario-7.log"
    log.parent.mkdir(parents=True)
    log.write_text("epoch 1\nslurmstepd: error: Exceeded job memory limit\n")
    assert status.status("7") == "failed"
    assert str(log) in (said := capsys.readouterr().err) and "memory limit" in said


def script(**changes):
    job = {
        "rule": "train", "jobid": 3, "output": ["a.pt"], "wildcards": {"scenario": "some-scenario"}, "threads": 8,
        "resources": {"partition": "gpu", "mem_mb": 16000, "runtime": 720, "gpu": 1, "sbatch": "--signal=B:TERM@120"},
    }  # fmt: skip
    Path("script").write_text(f"#!/bin/sh\n# properties = {json.dumps(job | changes)}\ntrue\n")
    return "script"


def test_submitted_job_has_its_resources_and_a_readable_name(slurm):
    slurm.answers |= {"squeue": [[]], "sbatch": [["7;cluster"]]}
    assert submit.submit(script()) == "7"
    score = dict(rule=None, wildcards={}, groupid="score", resources={"nodes": 2})
    assert submit.submit(script(**score, output=["results/scenarios/a/map.png", "results/scenarios/a/mosaic"])) == "7"
    train, score = (set(command) for command in slurm.of("sbatch"))
    assert {"--job-name=cerraseg-train-some-scenario", "--output=logs/slurm/train/some-scenario-%j.log"} < train
    assert {"--cpus-per-task=8", "--mem=16000", "--time=720", "--gres=gpu:1", "--partition=gpu", "--requeue"} < train
    assert {"--open-mode=append", "--signal=B:TERM@120", "script"} < train and "--nodes=2" not in train
    assert {"--job-name=cerraseg-score-a", "--nodes=2", "--ntasks-per-node=1"} < score
    assert not any(option.startswith(("--mem", "--gres")) for option in score)
    assert Path("logs/slurm/train").is_dir()


def test_busy_slurmctld_is_asked_again_for_a_while_and_a_refused_job_not(slurm, monkeypatch):
    refused = jobs.SlurmError("sbatch: error: invalid partition specified: gpu")
    slurm.answers |= {"squeue": [OUTAGE, []], "sbatch": [OUTAGE, OUTAGE, ["7"], refused]}
    assert submit.submit(script()) == "7"
    with pytest.raises(jobs.SlurmError, match="invalid partition"):
        submit.submit(script())
    assert len(slurm.of("sbatch")) == 4
    monkeypatch.setattr(submit, "PATIENCE", 0)
    slurm.answers["squeue"] = [OUTAGE]
    with pytest.raises(jobs.SlurmError, match="Unable to contact"):
        submit.submit(script())


def test_job_accepted_without_a_word_is_not_submitted_twice(slurm):
    slurm.answers |= {"squeue": [[]], "sbatch": [["6"]]}
    submit.submit(script())
    (comment,) = (option.partition("=")[2] for option in slurm.of("sbatch")[0] if option.startswith("--comment"))
    others = [f"5|cerraseg-train-y|{comment}|/elsewhere", f"6|mine|{comment}|{Path.cwd()}"]
    accepted = [*others, f"7|cerraseg-train-x|{comment}|{Path.cwd()}"]
    slurm.answers |= {"squeue": [others, accepted], "sbatch": [jobs.SlurmError("Socket timed out on send/recv")]}
    assert submit.submit(script()) == "7"


def test_recovery_cancels_waits_unlocks_and_reruns_but_not_where_jobs_stay(slurm, monkeypatch, capfd):
    row = f"1|cerraseg-train-x|a|{Path.cwd()}"
    slurm.answers["squeue"] = [[row], [row], [], [row]]
    assert recover.recover(["echo", "ran"]) == 0
    assert slurm.of("scancel") == [("scancel", "1")] * 2
    assert "cancelling 1 (cerraseg-train-x)" in (said := capfd.readouterr().out)
    assert said.splitlines()[-2:] == ["ran --unlock", "ran --rerun-incomplete"]
    monkeypatch.setattr(recover, "PATIENCE", -1)
    with pytest.raises(jobs.SlurmError, match="1 jobs are still there"):
        recover.recover(["false"])


def test_program_that_is_missing_or_fails_is_named(tmp_path):
    with pytest.raises(jobs.SlurmError, match="no-such-program"):
        jobs.ask("no-such-program")
    with pytest.raises(jobs.SlurmError, match="No such file"):
        jobs.ask("ls", str(tmp_path / "none"))
    assert jobs.ask("printf", "a\nb") == ["a", "b"]
