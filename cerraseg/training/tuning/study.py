"""The study of a search: its storage, its parameters, and what is written of it. No torch."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import FixedTrial, Trial

from cerraseg.config.dataset import Dataset
from cerraseg.config.scenario import PLURALS, known_names, parse
from cerraseg.config.search_space import Change, Space, change, expand_url
from cerraseg.core.errors import ConfigError, DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log

_COLUMNS = ("number", "state", "value", "duration", "last_step", "params", "user_attrs")
_SQLITE_TIMEOUT = 120  # seconds that one worker waits for another's write


def open_storage(url: str) -> BaseStorage:
    """Open the storage of a URL, whose environment variables are expanded here."""
    filled = expand_url(url)
    kind, _, path = filled.partition("://")
    try:
        if kind in ("journal", "sqlite"):  # after three slashes, a path relative to the folder of the run
            Path(path[1:]).parent.mkdir(parents=True, exist_ok=True)
        if kind == "journal":
            return JournalStorage(JournalFileBackend(path[1:]))
        options = {"connect_args": {"timeout": _SQLITE_TIMEOUT}} if kind == "sqlite" else {"pool_pre_ping": True}
        return RDBStorage(filled, engine_kwargs=options)
    except Exception as error:  # of whatever driver, and its text may hold the password
        raise ConfigError(
            f"tune.storage: {url} cannot be opened ({type(error).__name__}); expected a database that answers "
            "and whose driver is installed, or the path of a file in a folder that can be written"
        ) from None


def suggest(trial: Trial | FixedTrial, space: Space) -> dict[str, Any]:
    """Draw each parameter of the space; parameter → value as a configuration has it."""
    drawn = {}
    for key, given in space.items():
        if isinstance(given, list):
            choices = {storable(choice): choice for choice in given}
            drawn[key] = choices[trial.suggest_categorical(key, list(choices))]
        else:
            draw = trial.suggest_int if isinstance(given["low"], int) else trial.suggest_float
            drawn[key] = draw(key, given["low"], given["high"], log=given["log"])
    return drawn


def storable(choice: Any) -> Any:
    """A choice as Optuna can store it: a list, of channels for instance, as its text."""
    return json.dumps(choice) if isinstance(choice, (list, tuple)) else choice


def write_search(
    study: Study,
    scenario: str,
    space: Space,
    config: Mapping[str, Any],
    dataset: Dataset,
    source: str,
    table: Path,
    winner: Path,
) -> None:
    """Write what a search found.

    Args:
        study, space: the finished study and what was searched.
        scenario: id of the scenario that was searched from.
        config, dataset: the complete configuration, without its section ``tune``, and its dataset.
        source: what the data is called.
        table: CSV to write, Optuna's table of trials; values are validation macro F1 (a fraction).
        winner: YAML to write, the best trial as an ordinary configuration.

    Raises:
        DataError: if no trial finished.
    """
    rows = study.trials_dataframe(_COLUMNS)
    rows["duration"] = rows["duration"].dt.total_seconds()
    with atomic_write(table) as temporary:
        rows.to_csv(temporary, index=False, float_format="%.6g")
    if not (rows["state"] == "COMPLETE").any():
        notes = f", often: {rows['user_attrs_note'].mode()[0]}" if "user_attrs_note" in rows else ""
        raise DataError(
            f"none of the {len(rows)} trials finished, see {table}{notes}; expected one at least: mend what failed, "
            "narrow tune.space or raise tune.trials"
        )
    best = study.best_trial
    found = best_configuration(config, dataset, scenario, change(suggest(FixedTrial(best.params), space)))
    heading = (
        f"# Found by a search of hyper-parameters from {scenario}, on: {source}.\n"
        f"# Trial {best.number} of study {study.study_name} ({len(rows)} trials): validation macro F1 "
        f"{100 * study.best_value:.2f} %;\n# chosen on the validation split alone.\n"
        f"# Train, score and map it: snakemake --configfile {winner}\n"
    )
    with atomic_write(winner) as temporary:
        temporary.write_text(heading + yaml.safe_dump(found, sort_keys=False, width=120), encoding="utf-8")
    log.info("best of %d trials: %d, validation macro F1 %.2f %%", len(rows), best.number, 100 * study.best_value)


def best_configuration(config: Mapping[str, Any], dataset: Dataset, scenario: str, found: Change) -> dict[str, Any]:
    """The complete configuration of one scenario: ``scenario`` with what was found, in a recipe of its own."""
    copied = json.loads(json.dumps(config))  # plain lists and dictionaries
    base = parse(scenario, known_names(dataset, config["models"], config["recipes"]))
    name = "searched"
    while name in config["recipes"]:
        name += "1"
    made = replace(base, recipe=name, **found.scenario)
    axes = {plural: [getattr(made, axis)] for axis, plural in PLURALS.items()}
    sensors = {sensor.name for sensor in dataset.sensors_of(made.modality)}
    models = copied["models"] if made.model in config["models"] else copied
    models[made.model] |= found.settings
    changed = {
        "results": f"{config['results']}-searched",
        "scenarios": {**axes, "seeds": [made.seed], "extra": []},
        "recipes": copied["recipes"] | {name: {"from": base.recipe, **found.recipe}},
        "training": copied["training"] | found.training,
        "checkpoints": {},
        "scenes": [{**scene, "scenarios": []} for scene in copied["scenes"] if sensors <= set(scene)],
    }
    return {**copied, **changed}
