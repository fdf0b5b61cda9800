"""The commands that keep Snakemake's memory and DVC's telling the same story."""

import re
import shutil
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cerraseg.core.errors import CerraSegError
from cerraseg.core.logs import log
from cerraseg.evaluation.score_files import set_aside_others
from cerraseg.orchestration.dvc_sync import snakemake, stages

UNTRACKED = {"geotiffs", "learning_rate", "polygons", "simulate_scene", "trials", "tune"}
"""Rules that no stage stands for, and whose files no stage depends on: Snakemake makes them anew. A file per patch is
what DVC is slow at, polygons come of the maps, a learning rate or a search is asked for by name, and what it finds goes
into a configuration, which git can keep; patches and scenes are what each machine has."""

BY_DIGEST = {"overview": re.compile("/(scenarios|scenes)/")}
"""Rule → inputs that its digest and the folder of scores, with the areas of all maps, stand for: no stage can depend on
a list that the configuration gives, and a folder of them may hold former scenarios, or no scene."""

DIGESTS = "digests"
"""The stage that says by digests of code and settings which others are stale."""

_ABSENT = "deleted"


def record() -> None:
    """Commit every stage whose outputs Snakemake calls up to date to ``dvc.lock`` and the cache; leave the others."""
    with ThreadPoolExecutor() as pool:  # Snakemake and DVC take seconds each to read what they remember
        asked = pool.submit(snakemake.up_to_date)
        repo = stages.opened()
        everything, fresh = list(repo.index.stages), asked.result()
    digests = stages.outputs(next(stage for stage in everything if stage.addressing == DIGESTS))
    if not all(map(fresh.get, digests)):  # nobody's input: a run for a single target leaves them as they are
        snakemake.snakemake("--", *digests)
        fresh = snakemake.up_to_date()
    stale = {
        stage
        for stage in everything
        if not all(fresh.get(path) and Path(path).exists() for path in stages.outputs(stage))
    }
    left = stale | stages.downstream(stale, everything)
    stages.commit(repo, [stage for stage in everything if stage not in left])
    log.info("dvc.lock records %d stages; %d are not up to date and left alone", len(everything) - len(left), len(left))


def restore() -> None:
    """Bring Snakemake's times and metadata in line with ``dvc.lock``, if all that is here belongs to it, by hash.

    Raises:
        CerraSegError: if something differs; then nothing is touched.
        RunningError: if a run works in this folder.
    """
    everything = list(stages.opened().index.stages)
    made = set().union(*map(stages.outputs, everything))
    shared = _shared(everything, made)
    faults = [
        f"{stage.addressing}: {difference}"
        for stage in everything
        for difference in stages.differences(stage)
        if not _excused(difference, made, shared)
    ]
    if faults:
        listed = "\n".join(f"  - {fault}" for fault in faults[:10])
        more = f"\n  and {len(faults) - 10} more" if len(faults) > 10 else ""
        raise CerraSegError(
            f"what is here is not what dvc.lock records, so nothing was touched:\n{listed}{more}\n"
            "`dvc checkout --force` brings back the recorded files, `make repro` or `snakemake` makes them anew"
        )
    for folder, parts in shared.items():
        set_aside_others(Path(folder), parts)
    snakemake.bless()
    log.info("Snakemake now knows what dvc.lock records: %d stages", len(everything))


def _shared(everything: Collection[stages.Stage], made: set[str]) -> dict[str, set[str]]:
    """Folders of several stages' outputs that another stage reads → names of what belongs there."""
    found = {}
    for folder in set().union(*map(stages.inputs, everything)) - made:
        parts = {Path(path).relative_to(folder).parts[0] for path in made if stages.within(path, {folder})}
        if parts and Path(folder).is_dir():
            found[folder] = parts
    return found


def _excused(difference: str, made: set[str], shared: dict[str, set[str]]) -> bool:
    """Whether something is only absent, or a shared folder lacks some or has what an earlier commit left there."""
    how, _, path = difference.partition(" ")
    if path not in shared:
        return how == _ABSENT
    files = (file for file in Path(path).rglob("*") if file.is_file())
    return all(str(file) in made or file.relative_to(path).parts[0] not in shared[path] for file in files)


def repro(arguments: Sequence[str] = ()) -> None:
    """Run the stages that DVC's hashes call stale, in parallel, by Snakemake with ``arguments``, and record them.

    Raises:
        CerraSegError: if a job fails; what was made is recorded.
        RunningError: if a run works in this folder.
    """
    last: set[str] = set()
    while True:
        everything = list(stages.opened().index.stages)
        stale = {stage for stage in everything if stages.differences(stage)}
        if not stale:
            break
        below = stages.downstream(stale, everything)
        wave = stale if len(stale) == len(everything) else _wave(stale, below)
        names = {stage.addressing for stage in wave}
        if names == last:
            raise CerraSegError(f"{', '.join(sorted(names))}: ran, but DVC still calls them stale: see dvc status")
        _run(wave, set(everything) - stale - below, arguments)
        last = names
    log.info("dvc.lock and what is here agree: %d stages", len(everything))


def _wave(stale: set[stages.Stage], below: set[stages.Stage]) -> set[stages.Stage]:
    """What to run next: steps on the data one by one, as they may come out as before, then all the rest at once."""
    digests = {stage for stage in stale if stage.addressing == DIGESTS}
    first = {stage for stage in stale - below if "@" not in stage.addressing}
    return digests or first or stale | below


def _run(wave: Collection[stages.Stage], unchanged: Collection[stages.Stage], arguments: Sequence[str]) -> None:
    log.info("%d stages unchanged, running %d", len(unchanged), len(wave))
    if unchanged:
        snakemake.bless(sorted(path for stage in unchanged for path in stages.outputs(stage)))
    todo = sorted(path for stage in wave for path in stages.outputs(stage))
    for path in map(Path, todo):  # as dvc repro does: what is stale must not look done
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    failed = snakemake.run(arguments, todo)
    record()
    if failed:
        raise CerraSegError("a job failed; its message stands above. The same command goes on from there")


def check() -> None:
    """Hold ``dvc.yaml`` to the rules: stages, commands, dependencies, parameters and outputs.

    Raises:
        CerraSegError: with a line for each thing to mend.
    """
    listed, jobs = list(stages.opened().index.stages), snakemake.jobs()
    if any(" " in path for job in jobs for path in job.outputs if job.rule == DIGESTS):
        raise CerraSegError(
            "config.yaml names a folder of results with a space, which the commands of DVC's stages do not quote; "
            "rename it, or give the run a configuration of its own (--configfile)"
        )
    if any(job.rule == "fold" for job in jobs):
        raise CerraSegError(
            "config.yaml says split.scheme: kfold, but DVC's stages know no folds; give the cross-validation a "
            "configuration of its own (--configfile)"
        )
    if faults := drift(jobs, listed):
        raise CerraSegError("dvc.yaml and the rules differ:\n" + "\n".join(f"  - {fault}" for fault in faults))
    log.info("dvc.yaml and the rules agree: %d stages", len(listed))


def drift(jobs: Collection[snakemake.Job], listed: Collection[stages.Stage]) -> list[str]:
    """A line for each difference between the rules' jobs and the stages of ``dvc.yaml``."""
    makers = {path: job for job in jobs for path in job.outputs}
    covered = set().union(*map(stages.outputs, listed))
    faults = [fault for stage in listed for fault in _faults(stage, makers)]
    for job in jobs:
        lost = [] if job.rule in UNTRACKED or job.outputs & covered else sorted(job.outputs)
        faults += [f"{path}: output of rule {job.rule} that no stage of dvc.yaml has" for path in lost]
    return faults


def _faults(stage: stages.Stage, makers: dict[str, snakemake.Job]) -> list[str]:
    """What is wrong with a stage."""
    name, outs, deps = stage.addressing, stages.outputs(stage), stages.inputs(stage)
    job = next((makers[path] for path in sorted(outs) if path in makers), None)
    if job is None:
        return [f"{name}: no rule makes {', '.join(sorted(outs))}; take the stage out or mend its outputs"]
    if job.rule == "adopt":
        return [
            f"{name}: the scenario's checkpoint is adopted, but DVC's stages are those of trainings; give it a "
            "configuration of its own (--configfile)"
        ]
    faults = []
    kind, key = stages.rule(stage), name.partition("@")[2]
    allowed, _, target = stage.cmd.partition("--allowed-rules ")[2].partition(" -- ")
    if job.rule not in allowed.split() or target not in ({DIGESTS} if job.rule == DIGESTS else job.outputs):
        faults.append(f"cmd does not ask rule {job.rule} for one of its outputs: {stage.cmd}")
    if kind not in (job.rule, "source"):
        faults.append(f"its outputs are those of rule {job.rule}; give the stage that name")
    faults += [f"outs lack {path}, which rule {job.rule} writes" for path in sorted(job.outputs - outs)]
    faults += [f"outs name {path}, which rule {job.rule} does not write" for path in sorted(outs - job.outputs)]
    if job.rule == DIGESTS:
        return [f"{name}: {fault}" for fault in faults]  # reads the rules and the configuration, not files of a run
    # A file that no rule makes, or an untracked one, is what each machine has.
    made = {path for path in job.inputs if path in makers and makers[path].rule not in UNTRACKED}
    if job.rule in BY_DIGEST:
        made = {path for path in made if not BY_DIGEST[job.rule].search(path)}
    faults += [
        f"deps lack {path}, which rule {job.rule} reads" for path in sorted(made) if not stages.within(path, deps)
    ]
    unread = [path for path in sorted(deps) if not any(stages.within(read, {path}) for read in job.inputs)]
    faults += [f"deps name {path}, which rule {job.rule} does not read" for path in unread]
    wanted = f"{kind}.{key}" if key else kind
    if [wanted] not in stages.parameters(stage).values():
        faults.append(f"params lack the digest {wanted}")
    return [f"{name}: {fault}" for fault in faults]
