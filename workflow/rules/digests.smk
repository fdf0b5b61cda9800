"""Digests of code and settings: by them Snakemake knows what of the package a step reaches, and DVC what a job is."""

import hashlib
import json
import re
from functools import cache
from types import SimpleNamespace

from cerraseg.orchestration import code_digest


@cache
def package_digest(script):
    """Digest of a step's script and of the code of the package that it reaches."""
    return code_digest.package_digest(BASE / f"workflow/scripts/{script}.py", BASE)


def trained_by(wildcards):
    """Digest of the code that trains the scenario; empty where none does."""
    return "" if wildcards.scenario in ADOPTED else package_digest("train")


@cache
def digest_of(file):
    """SHA-256 of a file."""
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def pretrained_digest(wildcards):
    """What the scenario's file of encoder parameters holds; empty where there is none."""
    file = pretrained(wildcards)
    return digest_of(file) if file else ""


SOURCES = ("simulate", "download", "local")
# Parameters that Snakemake goes by but that differ between machines with the same data.
OF_MACHINE = {"folders"}
# Steps that no stage of DVC stands for and whose jobs the scenarios do not number.
UNSEEN = {"digests", "trials", "tune"}


def declared(step, **wildcards):
    """Hash over the parameters that a job of the rule has."""
    values = {
        name: value(SimpleNamespace(**wildcards)) if callable(value) else value
        for name, value in step.params.items()
        if name not in OF_MACHINE
    }
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def jobs_of(step):
    """Key → wildcards of each job of a rule with wildcards; DVC numbers the scenes of the configuration."""
    allowed = step.wildcard_constraints.get("scenario", ".*")
    ids = [id_ for id_ in SCENARIOS if re.fullmatch(allowed, id_)]
    numbers = {name: f"scene{n}" for n, name in enumerate(SCENES)}
    if step.wildcard_names == {"fold"}:
        return {}  # DVC knows no folds
    if step.wildcard_names == {"scenario"}:
        return {id_: dict(scenario=id_) for id_ in ids}
    if step.wildcard_names == {"scene"}:
        return {numbers[name]: dict(scene=name) for name in SCENES}
    return {
        f"{numbers[name]}-{id_}": dict(scene=name, scenario=id_) for name, id_ in MAPPED
    }


def of_jobs(step):
    """Digest of a rule's job or, for a rule with wildcards, key → digest of each of its jobs."""
    if not step.wildcard_names:
        return declared(step)
    return {
        key: declared(step, **wildcards) for key, wildcards in jobs_of(step).items()
    }


def of_maps():
    """Digests of what makes the maps that the overview shows."""
    names = ("mosaic", "areas", "scene", "map", "scene_areas")
    return {step.name: of_jobs(step) for step in workflow.rules if step.name in names}


def digests():
    """Rule → :func:`of_jobs`; whichever rule is the source is `source`."""
    return {
        "source" if step.name in SOURCES else step.name: of_jobs(step)
        for step in workflow.rules
        if step.params and step.name not in UNSEEN
    }
