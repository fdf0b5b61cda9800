"""What a search found: the table of its trials, and its best one as an ordinary configuration."""

import json
import shutil
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from cerraseg.config.scenario import PLURALS, parse
from cerraseg.config.search_space import Change, Space, change
from cerraseg.core.errors import DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log
from cerraseg.report.search_figure import search_progress
from cerraseg.training.tuning.study import best, finished, taken, values

_FEWEST = 5  # finished trials that an importance is computed from


@dataclass(frozen=True)
class Report:
    """Files of a search.

    Attributes:
        table: CSV, a row a trial: number, state, value (validation macro F1, a fraction), epochs, seconds, the
            parameters, and a note: why it failed, or which trial had the same parameters.
        winner: YAML, the best trial as an ordinary configuration.
        figure: the best value so far, and values by parameter with importances.
    """

    table: Path
    winner: Path
    figure: Path


def write_search(
    marker: Path,
    scenario: str,
    space: Space,
    storage: str,
    config: Mapping[str, Any],
    source: str,
    report: Report,
    states: Path,
) -> None:
    """Write what a search found.

    Args:
        marker: what a worker wrote.
        scenario: id of the scenario that was searched from.
        space: what was searched.
        storage: URL of the study's storage.
        config: the complete configuration, without its section ``tune``.
        source: what the data is called.
        report: files to write.
        states: folder with what trials of this and former searches left, which no worker goes on from; it is removed.

    Raises:
        DataError: if no trial finished.
        ConfigError: if the storage cannot be opened or has no such study.
    """
    study = finished(json.loads(marker.read_text())["study"], storage)
    trials = [trial for trial in study.get_trials() if taken(trial)]
    rows = trial_table(trials, space)
    with atomic_write(report.table) as temporary:
        rows.to_csv(temporary, index=False, float_format="%.6g")
    leader = best(trials)
    if leader is None:
        raise DataError(_nothing_finished(rows, report.table))
    search_progress(rows, space, _importances(study), report.figure, title=f"Search from {scenario}", source=source)
    found = configuration(config, scenario, change(values(leader.params, space)))
    told = _heading(study.study_name, leader, rows, scenario, source, report.winner)
    with atomic_write(report.winner) as temporary:
        temporary.write_text(told + yaml.safe_dump(found, sort_keys=False, width=120), encoding="utf-8")
    shutil.rmtree(states, ignore_errors=True)
    log.info("best of %d trials: %d, validation macro F1 %.2f %%", len(rows), leader.number, 100 * (leader.value or 0))


def trial_table(trials: Collection[FrozenTrial], space: Space) -> pd.DataFrame:
    """A row a trial, see :func:`write_search`."""
    rows = []
    for trial in trials:
        attributes = trial.user_attrs
        same = f"as trial {attributes['same_as']}" if "same_as" in attributes else ""
        facts = {
            "number": trial.number,
            "state": trial.state.name.lower().replace("fail", "failed"),
            "value": trial.value,
            "epochs": len(trial.intermediate_values),
            "seconds": attributes.get("seconds", 0.0),
        }
        rows.append(facts | {key: trial.params.get(key) for key in space} | {"note": attributes.get("reason", same)})
    columns = ["number", "state", "value", "epochs", "seconds", *space, "note"]
    table = pd.DataFrame(rows, columns=columns, dtype=object)  # a choice stays what it is beside an absent one
    return table.astype({"number": int, "value": float, "epochs": int, "seconds": float})


def _nothing_finished(rows: pd.DataFrame, table: Path) -> str:
    reasons = Counter(rows["note"][rows["state"] == "failed"]).most_common(3)
    listed = "".join(f"\n  - {times} times: {reason}" for reason, times in reasons)
    return (
        f"none of the {len(rows)} trials finished, see {table}; expected one at least: mend what failed, narrow "
        f"tune.space or raise tune.trials{listed}"
    )


def _importances(study: Study) -> dict[str, float]:
    """Parameter → its share in what makes a trial good (PED-ANOVA, Watanabe et al., IJCAI 2023); none of few trials."""
    complete = [trial for trial in study.get_trials(deepcopy=False) if trial.state == TrialState.COMPLETE]
    if len(complete) < _FEWEST or len({trial.value for trial in complete}) < 2:
        return {}
    return get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())


def configuration(config: Mapping[str, Any], scenario: str, found: Change) -> dict[str, Any]:
    """The complete configuration of one scenario: ``scenario`` with what was found, in a recipe of its own."""
    names = (f"searched{number or ''}" for number in count())
    name = next(name for name in names if name not in config["recipes"])
    base = parse(scenario, {"model": config["models"], "recipe": config["recipes"]})
    made = replace(base, recipe=name, **found.scenario)
    axes = {plural: [getattr(made, axis)] for axis, plural in PLURALS.items()}
    bands = {"msi", "sar"} if made.modality == "concat" else {made.modality}
    return {
        **_plain(config),
        "results": f"{config['results']}-searched",
        "scenarios": {**axes, "seeds": [made.seed], "extra": []},
        "recipes": {**_plain(config["recipes"]), name: {"from": base.recipe, **found.recipe}},
        **_with_settings(config, made.model, found.settings),
        "training": {**_plain(config["training"]), **found.training},
        "checkpoints": {},
        "scenes": [{**_plain(scene), "scenarios": []} for scene in config["scenes"] if bands <= set(scene)],
    }


def _with_settings(config: Mapping[str, Any], model: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The section that describes the model, with some settings changed."""
    if model in config["models"]:
        return {"models": _plain(config["models"]) | _with_settings(config["models"] | {"models": {}}, model, settings)}
    return {model: {**_plain(config[model]), **settings}}


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _heading(name: str, leader: FrozenTrial, rows: pd.DataFrame, scenario: str, source: str, path: Path) -> str:
    states = ", ".join(f"{number} {state}" for state, number in rows["state"].value_counts().items())
    return (
        f"# Found by a search of hyper-parameters from {scenario}, on: {source}.\n"
        f"# Trial {leader.number} of study {name} ({states}): validation macro F1 {100 * (leader.value or 0):.2f} %,\n"
        f"# after {len(leader.intermediate_values)} epochs; chosen on the validation split alone.\n"
        f"# Train, score and map it: snakemake --configfile {path}\n"
    )
