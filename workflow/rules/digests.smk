"""Digests of code and settings: by them Snakemake knows what of the package a step reaches, and DVC what a job is."""

import ast
import hashlib
import json
import re
from functools import cache
from types import SimpleNamespace

# Modules that say what happens but cannot change what comes out: editing them reruns nothing.
SILENT = {"errors", "logs", "files", "memory", "stopping"}


@cache
def package_digest(script):
    """Hash over a step's script and the package modules that it reaches by import."""
    reached, todo = {}, [BASE / f"workflow/scripts/{script}.py"]
    while todo:
        path = todo.pop()
        reached[path] = path.read_bytes()
        todo += [module for module in imported(path) if module not in reached]
    content = b"".join(reached[path] for path in sorted(reached))
    return hashlib.sha256(content).hexdigest()[:12]


def trained_by(wildcards):
    """Digest of the code that trains the scenario; empty where none does."""
    return "" if wildcards.scenario in ADOPTED else package_digest("train")


@cache  # most steps reach most modules
def imported(path):
    """Files of the package modules that a Python file names in its import statements."""
    names = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            "cerraseg"
        ):
            names |= {
                node.module,
                *(f"{node.module}.{alias.name}" for alias in node.names),
            }
    stems = [
        BASE / name.replace(".", "/")
        for name in names - {f"cerraseg.{module}" for module in SILENT}
    ]
    files = (
        file
        for stem in stems
        for file in (stem.with_suffix(".py"), stem / "__init__.py")
    )
    return [file for file in files if file.is_file()]


SOURCES = ("simulate", "download", "local")
# Parameters that Snakemake goes by but that differ between machines with the same data.
OF_MACHINE = {"folders"}


def declared(step, **wildcards):
    """Hash over the parameters that a job of the rule has."""
    values = {
        name: value(SimpleNamespace(**wildcards)) if callable(value) else value
        for name, value in step.params.items()
        if name not in OF_MACHINE
    }
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def digests():
    """Rule → digest of its job, or scenario → digest of each of its jobs; whichever rule is the source is `source`."""
    found = {}
    for step in workflow.rules:
        if step.wildcard_names:
            allowed = step.wildcard_constraints.get("scenario", ".*")
            found[step.name] = {
                id_: declared(step, scenario=id_)
                for id_ in SCENARIOS
                if re.fullmatch(allowed, id_)
            }
        elif step.params and step.name != "digests":
            name = "source" if step.name in SOURCES else step.name
            found[name] = declared(step)
    return found
