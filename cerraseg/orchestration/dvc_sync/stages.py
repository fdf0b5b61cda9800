"""What DVC knows: its stages, what of them differs from ``dvc.lock``, and how to commit them there."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from dvc.dependency import ParamsDependency
from dvc.exceptions import DvcException
from dvc.repo import Repo, lock_repo
from dvc.stage.serialize import to_lockfile
from dvc.utils.serialize import dump_yaml, load_yaml

from cerraseg.core.errors import CerraSegError
from cerraseg.core.files import atomic_write

Stage = Any
"""A DVC stage; DVC has no types."""

LONG = {"pack", "train", "predict"}
"""Rules that take long: for all others DVC's run cache, 10 ms a stage, costs more than it saves."""


def rule(stage: Stage) -> str:
    """The rule that a stage is named for."""
    return str(stage.name).partition("@")[0].removesuffix("_extra")


def opened() -> Repo:
    """The repository of the current folder.

    Raises:
        CerraSegError: if ``dvc.yaml`` does not fit the configuration.
    """
    try:
        repo = Repo()
        repo.index.stages  # noqa: B018 (reads dvc.yaml)
    except DvcException as error:
        raise CerraSegError(
            f"dvc.yaml: {error.__cause__ or error}\nIt reads config/config.yaml, which must name results, scenes "
            "and every list under scenarios, empty ones too (extra: [])"
        ) from error
    return repo


def outputs(stage: Stage) -> set[str]:
    """Paths that a stage writes."""
    return {out.def_path for out in stage.outs}


def inputs(stage: Stage) -> set[str]:
    """Files and folders that a stage depends on; parameters are apart."""
    return {dep.def_path for dep in stage.deps if not isinstance(dep, ParamsDependency)}


def parameters(stage: Stage) -> dict[str, list[str]]:
    """Parameter files of a stage → the keys it reads."""
    return {dep.def_path: dep.params for dep in stage.deps if isinstance(dep, ParamsDependency)}


def within(path: str, folders: Collection[str]) -> bool:
    """Whether ``path`` or a folder above it is among ``folders``."""
    return path in folders or any(str(parent) in folders for parent in Path(path).parents)


def downstream(start: Iterable[Stage], stages: Iterable[Stage]) -> set[Stage]:
    """All stages that depend on one of ``start``, directly or not; of ``start`` itself those that do."""
    readers = defaultdict(set)
    for stage in stages:
        for dep in stage.deps:
            readers[dep.def_path].add(stage)
    todo, found = list(start), set[Stage]()
    while todo:
        for out in outputs(todo.pop()):
            for path in (out, *map(str, Path(out).parents)):
                new = readers.get(path, set()) - found
                found |= new
                todo += new
    return found


def _entries(stage: Stage) -> tuple[Any, ...]:
    return (*stage.deps, *stage.outs)


def differences(stage: Stage) -> list[str]:
    """What of a stage differs from ``dvc.lock``, by hash: ``modified results/split.csv``; absent outputs too."""
    found = ["the command differs"] if stage.changed_stage() else []
    for entry in _entries(stage):
        for path, state in entry.workspace_status().items():
            keys = state.items() if isinstance(state, dict) else [("", state)]
            found += [f"{how} {path}{':' if key else ''}{key}" for key, how in keys]
    return found


def commit(repo: Repo, stages: Iterable[Stage]) -> None:
    """Take the stages as they lie into the cache and ``dvc.lock``; files keep their times.

    Raises:
        CerraSegError: if DVC cannot, e.g. because another DVC command is running.
    """
    try:
        with lock_repo(repo), repo.scm_context:
            changed = [
                stage for stage in stages if stage.changed_stage() or any(entry.status() for entry in _entries(stage))
            ]
            for stage in changed:
                _save(stage)
                stage.commit(relink=False)
            if changed:
                _lock(repo, changed)
    except DvcException as error:
        raise CerraSegError(f"dvc: {error}") from error


def _save(stage: Stage) -> None:
    """Hash a stage; what took long also goes into DVC's run cache, where a reverted setting finds it again."""
    if rule(stage) in LONG:
        stage.save()
    else:
        stage.save_deps()
        stage.save_outs()
        stage.md5 = stage.compute_md5()


def _lock(repo: Repo, stages: Iterable[Stage]) -> None:
    """Write the stages' hashes into ``dvc.lock`` as DVC would, but whole or not at all, and several times faster."""
    lock = Path(repo.root_dir, "dvc.lock")
    content: dict[str, Any] = load_yaml(lock) if lock.exists() else {"schema": "2.0", "stages": {}}
    for stage in stages:
        content["stages"].update(to_lockfile(stage))
    with atomic_write(lock) as temporary:
        dump_yaml(temporary, content)
    repo.scm_context.track_file(lock.name)
