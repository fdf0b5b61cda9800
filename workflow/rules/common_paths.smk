"""Paths of what the rules read and write, of scenarios and of folds."""

PACKED = dict(
    images=f"{R}/packed/images.npy",
    masks=f"{R}/packed/masks.npy",
    header=f"{R}/packed/header.json",
)
# The header has a digest of the pixels: arrays with a new time but the same pixels make nobody train again.
AS_PACKED = dict(
    images=ancient(PACKED["images"]),
    masks=ancient(PACKED["masks"]),
    header=PACKED["header"],
)
FOLD = "folds/{fold}/" if FOLDS else ""  # folder of what each fold has of its own
PATCHES = "all" if FOLDS else config["predict"]["patches"]


wildcard_constraints:
    scenario="|".join({**MODELS, **SCENARIOS}),
    fold=r"\d+",


def of_scenario(name):
    """Path of a scenario's file, with the wildcard open."""
    return f"{R}/scenarios/{{scenario}}/{name}"


def scores_of_scenario(name):
    """Path of a file of a scenario's scores, with the wildcard open; a folder apart, which DVC can hash as one."""
    return f"{R}/scores/{{scenario}}/{name}"


def each_scenario(path):
    """A path with the wildcard filled in for every scenario."""
    return expand(path, scenario=SCENARIOS)


def each_model(path, but=()):
    """A path with the wildcard filled in for every model, ``but`` for some."""
    return expand(path, scenario=others(but))


def each_fold(path):
    """A path with the wildcard filled in for every fold; the path alone where there are none."""
    return expand(path, fold=FOLDS, allow_missing=True) if FOLDS else [path]


def of_split(name):
    """Input function: this file of the split that the scenario's model learns from, which is its fold's."""
    return lambda wildcards: (
        f"{R}/{FOLD}{name}".format(fold=fold)
        if (fold := scenario_of(wildcards).fold)
        else f"{R}/{name}"
    )


def only(ids):
    """Wildcard constraint to these scenarios; to none where there are none."""
    return "|".join(ids) or "(?!)"


def others(ids):
    """The models that are not among these."""
    return [id_ for id_ in MODELS if id_ not in ids]


def where(ids, name):
    """Input function: the scenario's file where the scenario is among ``ids``, else nothing."""
    return lambda wildcards: (
        of_scenario(name).format(scenario=wildcards.scenario)
        if wildcards.scenario in ids
        else []
    )
