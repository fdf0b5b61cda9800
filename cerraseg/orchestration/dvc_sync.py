"""Keep what Snakemake and DVC know of a run in agreement.

Snakemake goes by times and its metadata, DVC by hashes. DVC gets a file only if Snakemake calls it up to date and left
it as it is; Snakemake is told that a file is right only if ``dvc.lock`` has its hash.
"""

import logging
import os
import shutil
import signal
import sys
from collections.abc import Collection, Iterable
from itertools import chain
from pathlib import Path

import yaml
from dvc.dependency import ParamsDependency
from dvc.repo import Repo

from cerraseg.config.dataset import DEFAULT
from cerraseg.config.descriptions import paths
from cerraseg.core.errors import CerraSegError
from cerraseg.core.logs import log
from cerraseg.orchestration.output_states import KEPT, call, outputs

TARGETS = {"data": "data", "models": "models", "results": "all"}
"""Stage of ``dvc.yaml`` → the rule that asks for its outputs."""

CONFIG = "config/config.yaml"


def run(stage: str) -> None:
    """Make the outputs of a stage of ``dvc.yaml``; files that Snakemake does not know are restored, or made again."""
    _refuse_unseen_files()
    unknown = [path for path, state in outputs(TARGETS[stage]).items() if state == "unknown"]
    if unknown:
        try:
            restore(partly=True)
            unknown = []
        except CerraSegError as error:
            log.warning("not as Snakemake left them, so made again: %s\n%s", _listed(unknown), error)
    options = ["--workflow-profile", os.environ.get("CERRASEG_PROFILE", "profiles/default")]
    options += ["--forcerun", *unknown] if unknown else []
    call("snakemake", "--cores=all", *options, "--", TARGETS[stage], capture=False)
    _set_aside_strangers(_folders()[stage], outputs("all"))


def record() -> None:
    """Commit to ``dvc.lock`` and the cache what Snakemake calls up to date, until the first stage that is not."""
    _refuse_unseen_files()
    states, good = outputs("all"), []
    for stage, folders in _folders().items():
        mine = {path: state for path, state in states.items() if _within(path, folders)}
        if left := [f"{path} ({state})" for path, state in mine.items() if state != "current"]:
            log.warning("dvc.lock: stage %s is left as it was: %s", stage, _listed(left))
            break
        _set_aside_strangers(folders, states)
        good.append(stage)
    if good:
        call("dvc", "commit", "--quiet", "--force", "--no-relink", *good)
    log.info("dvc.lock records %s", ", ".join(good) or "nothing new")


def restore(partly: bool = False) -> None:
    """Touch all outputs as finished under the configuration of ``dvc.lock``, so that Snakemake sees what changed since.

    What no stage records, as a simulated scene, is removed, or set aside where it is a folder, as the images of a
    region's tile: it may be of any configuration.

    Args:
        partly: whether recorded files may be absent.

    Raises:
        CerraSegError: if a file or the code differs, then nothing is touched; or if recorded files are absent.
    """
    differing, absent, config = _compare_with_lock()
    if differing:
        raise CerraSegError(
            f"what is here is not what dvc.lock records, so nothing was touched: {_listed(differing)}\n"
            "`dvc checkout --force` brings back what it records; `make repro` makes anew what is stale"
        )
    tracked = list(chain(*_folders().values()))
    for path in (Path(path) for path in outputs("all") if not _within(path, tracked)):
        if path.is_dir():  # images of a region, which cost a download
            _set_aside(path, Path(str(config["results"])))
        else:
            path.unlink(missing_ok=True)
    recorded = KEPT.with_name("dvc_lock_config.yaml")
    recorded.write_text(yaml.safe_dump(config, sort_keys=False))
    call("snakemake", "--cores=all", "--touch", "--forceall", "--quiet=all", f"--configfile={recorded}", "--", "all")
    outputs("all")  # keeps the new times
    if absent and not partly:
        raise CerraSegError(
            f"{len(absent)} recorded files are not here: {_listed(absent)}\n"
            "Snakemake knows the others. `dvc pull` brings these, then `make restore` again; else Snakemake makes them"
        )
    log.info("Snakemake now knows what dvc.lock records")


def _refuse_unseen_files() -> None:
    """Raise :class:`CerraSegError` for a dataset description, or a legend of it, in a file that DVC does not track."""
    given = yaml.safe_load(Path(CONFIG).read_text()).get("dataset", DEFAULT)
    seen = [dependency.def_path for stage in Repo().index.stages for dependency in stage.deps]
    if unseen := [str(file) for file in paths(given, Path()) if not _within(str(file), seen)]:
        raise CerraSegError(
            f"{CONFIG}: dataset is read from {_listed(unseen)}, and DVC would not see it change; expected it in a file "
            f"that DVC tracks: write the description, with its classes, into {CONFIG} under dataset"
        )


def _folders() -> dict[str, list[str]]:
    """Stage → paths of its outputs, in the order of ``dvc.yaml``."""
    return {stage.name: [out.def_path for out in stage.outs] for stage in Repo().index.stages}


def _within(path: str, folders: Iterable[str]) -> bool:
    return any(Path(path).is_relative_to(folder) for folder in folders)


def _set_aside_strangers(folders: Iterable[str], made: Collection[str]) -> None:
    """Move what no job makes, as files of a former scenario, out of DVC's sight: to ``former`` beside the folders."""
    for folder in (Path(folder) for folder in folders if not Path(folder).suffix):
        folder.mkdir(parents=True, exist_ok=True)  # DVC wants every output to be there
        for file in [file for file in folder.rglob("*") if file.is_file() and not file.name.startswith(".")]:
            if not _within(str(file), made):
                _set_aside(file, folder.parent)


def _set_aside(path: Path, results: Path) -> None:
    former = results / "former" / path.relative_to(results)
    former.parent.mkdir(parents=True, exist_ok=True)
    if former.is_dir():
        shutil.rmtree(former)
    log.info(
        "%s is of no job of this configuration, or not recorded; it now lies in %s", path, shutil.move(path, former)
    )


def _compare_with_lock() -> tuple[list[str], list[str], dict[str, object]]:
    """Return what differs from ``dvc.lock``, the recorded files that are absent, and the recorded configuration."""
    repo = Repo()
    recorded = yaml.safe_load(Path("dvc.lock").read_text())["stages"] if Path("dvc.lock").exists() else {}
    hashes = {out["path"]: out["md5"] for stage in recorded.values() for out in stage["outs"]}
    configs = [stage["params"][CONFIG] for stage in recorded.values()]
    found = [("recorded under several", CONFIG)] if any(config != configs[0] for config in configs) else []
    for stage in repo.index.stages:
        if stage.changed_stage():
            found.append(("not recorded", f"stage {stage.name}"))
        for item in (*stage.deps, *stage.outs):
            if item in stage.deps and item.def_path in hashes:
                if item.hash_info.value != hashes[item.def_path]:
                    found.append((f"not what {stage.name} was made from:", item.def_path))
            elif not isinstance(item, ParamsDependency):
                found += [(how, path) for path, how in item.workspace_status().items()]
    files, changed = repo.data_status(granular=True, untracked_files="no")["uncommitted"], [path for _, path in found]
    for how in ("modified", "added", "deleted", "unknown"):  # of a folder, its files are named
        found += [(how, path.rstrip("/")) for path in files.get(how, []) if _within(path, changed)]
    folders = {str(parent) for _, path in found for parent in Path(path).parents}
    differing = sorted({f"{how} {path}" for how, path in found if how != "deleted" and path not in folders})
    absent = sorted({path for how, path in found if how == "deleted" and path not in folders})
    return differing, absent, configs[0] if configs else {}


def _listed(names: Collection[str]) -> str:
    return ", ".join(list(names)[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    signal.signal(signal.SIGINT, lambda *_: None)  # Snakemake gets it too and ends in order, not killed
    try:
        {"run": run, "record": record, "restore": restore}[sys.argv[1]](*sys.argv[2:])  # type: ignore[operator]
    except CerraSegError as error:
        sys.exit(str(error))
