"""What the search starts from and where its study is."""

from types import SimpleNamespace

from cerraseg.config.storage_url import masked, storage_of

TUNE = config["tune"]
SEARCHED = SimpleNamespace(scenario=TUNE["scenario"])
# What holds a password stays out of parameters, which Snakemake writes down: the steps take it from the configuration.
STORAGE = masked(storage_of(config))


def to_search(wildcards):
    """What trials train on, where the configuration names a scenario to search from."""
    if not TUNE["scenario"]:
        raise WorkflowError(
            "tune.scenario: missing; expected the id of a scenario to search from, see docs/search.md"
        )
    data = dict(AS_PACKED, split=f"{R}/split.csv", statistics=f"{R}/statistics.json")
    return data | pretrained_input(SEARCHED)
