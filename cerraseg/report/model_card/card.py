"""A model card for each scenario: what the checkpoint is, how it was made, and what its scores are worth.

Source: M. Mitchell et al., "Model Cards for Model Reporting", Conference on Fairness, Accountability, and Transparency
(2019), 220–229. No path, host or user name of the machine gets into a card.
"""

import inspect
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from huggingface_hub import ModelCardData

from cerraseg.config.dataset import Dataset
from cerraseg.config.normalisation import constants
from cerraseg.config.recipes import Recipe, model_settings
from cerraseg.config.scenario import BASELINE, ENSEMBLE, MODEL_TITLES, RELEASED, Scenario
from cerraseg.core.content import content
from cerraseg.core.files import atomic_write
from cerraseg.core.taxonomy import Legend
from cerraseg.core.versions import commit, versions
from cerraseg.data.splits.file_lists import published_test_part
from cerraseg.data.tables import read_split
from cerraseg.evaluation import bootstrap
from cerraseg.evaluation.benchmark import PAPER_DATA, SCORES, above_baseline
from cerraseg.report.markdown import load_template, markdown_table
from cerraseg.training.weightings import WEIGHTINGS

RARE = 0.01
"""A class with a smaller share of the scored pixels is named as rare."""

_ORIGIN = {  # of a manifest: anything else in it might name this machine
    "dataset": "Kaggle handle",
    "version": "Kaggle version",
    "patches": "simulated patches",
    "scenes": "simulated scenes",
    "seed": "seed of the simulation",
}
_CONFIDENCE = ("ece_before", "ece_after", "coverage")
_GIVERS = {RELEASED: "released by the authors of the data set", ENSEMBLE: "made of the members below"}


@dataclass(frozen=True)
class Sources:
    """The files that a card is made of: ``history`` for a scenario that was trained, else ``origin``."""

    checkpoint: Path
    metrics: Path
    header: Path
    manifest: Path
    split: Path
    parts: Path
    statistics: Path
    history: Path | None = None
    origin: Path | None = None
    baseline: Path | None = None  # metrics of the pixel-wise one of the same bands and level


@dataclass(frozen=True)
class Run:
    """What the configuration sets for a scenario."""

    dataset: Dataset
    scenario: Scenario
    recipe: Recipe
    settings: Mapping[str, Any]  # the model's own
    training: Mapping[str, Any]  # ``epochs`` (at most) and ``batch_size``
    split: Mapping[str, Any]  # ``scheme``, shares by part, ``seed`` and ``validation_seed``
    label: str  # of the data source; data whose label has "simulated" in it is marked as such
    train_code: str  # digest of the training code
    pretrained: str = ""  # names of the files that encoders started from

    @property
    def simulated(self) -> bool:
        """Whether the data is no real land."""
        return "simulated" in self.label.lower()

    @property
    def sensors(self) -> list[str]:
        """Titles of the sensors that the model sees."""
        return [sensor.title for sensor in self.dataset.sensors_of(self.scenario.modality)]

    @property
    def classes(self) -> Legend:
        """The legend of the model."""
        return self.dataset.classes(self.scenario.level)


def write_model_card(path: Path, sources: Sources, run: Run, repository: Path) -> None:
    """Write a scenario's model card in Markdown with the front matter that model hubs read.

    The same files, versions and commit of the ``repository`` give the same bytes. Without a history among the
    ``sources``, the card tells of no training.
    """
    scenario, trained = run.scenario, sources.history is not None
    metrics, statistics = _read(sources.metrics), _read(sources.statistics)
    published, test_part = published_test_part(sources.parts)
    origin, header = _read(sources.manifest)["origin"], _read(sources.header)
    adopted = _read(sources.origin) if sources.origin else {}
    text = load_template(Path(__file__).with_name("assets") / "model_card.md.jinja").render(
        table=markdown_table,
        run=run,
        checkpoint=_size_and_hash(sources.checkpoint),
        split=_size_and_hash(sources.split),
        commit=commit(repository),
        scenario=scenario,
        metrics=metrics,
        trained=trained,
        baseline=scenario.recipe == BASELINE,
        published=run.label == PAPER_DATA,
        test_part=test_part if run.label == PAPER_DATA else "",
        unseen=scenario.recipe == RELEASED and published,
        front_matter=_front_matter(run),
        title=_title(run),
        giver=_GIVERS.get(scenario.recipe, "given by the user"),
        sensors=_listed(run.sensors),
        size=run.dataset.patch_size,
        published_bands=run.dataset.name == PAPER_DATA,
        coarser=[level.upper() for level in run.dataset.ancestors(scenario.level)] if run.recipe.hierarchical else [],
        settings=model_settings(scenario.model, run.settings, run.recipe),
        bands=list(_bands(run, statistics["bands"] if trained else {})),
        found="ids" if [entry.id for entry in run.classes] == list(range(len(run.classes))) else "places in the legend",
        classes=[(entry.id, entry.abbreviation, entry.name) for entry in run.classes],
        origin=[(title, origin[name]) for name, title in _ORIGIN.items() if name in origin],
        header=header,
        counts=Counter(read_split(sources.split)["split"]),
        training=_training(run, statistics, pd.read_csv(sources.history)) if sources.history else {},
        recipe=_recipe(run.recipe),
        adopted=adopted,
        members=[(id_, f"{one['bytes']:,}", one["sha256"]) for id_, one in adopted.get("members", {}).items()],
        scores=[(title, *_score(metrics, name)) for name, title in SCORES.items()],
        intervals=bootstrap.note(metrics["resampled"]["units"], metrics["resampled"]["count"]),
        class_scores=[
            (entry["name"], *_percent(entry, "f1", "iou", "precision", "recall"), f"{entry['support']:,}")
            for entry in metrics["classes"]
        ],
        confidence=[
            (row["name"], *(f"{100 * row[name]:.2f}" if row.get(name) is not None else "–" for name in _CONFIDENCE))
            for row in metrics["calibration"]["by_class"]
        ],
        edges=[
            (pixels, *_percent(ratios, "precision", "recall", "f1"))
            for pixels, ratios in sorted((metrics.get("edges") or {}).items(), key=lambda edge: int(edge[0]))
        ],
        rare=", ".join(_rare(metrics["classes"])),
        beside=_beside(sources.metrics, sources.baseline) if sources.baseline else "",
        versions=versions(),
    )
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _size_and_hash(path: Path) -> str:
    found = content(path)
    return f"{found.bytes:,} bytes, SHA-256 `{found.sha256}`"


def _front_matter(run: Run) -> str:
    tags = ["remote-sensing", "land-cover", "land-use", "semantic-segmentation", "pytorch", run.scenario.model]
    tags += [sensor.lower().replace(" ", "-") for sensor in run.sensors]
    tags += ["cerrado", "cerradata-4mm"] if run.label == PAPER_DATA else ["simulated-data"] if run.simulated else []
    fields: dict[str, Any] = {"tags": tags, "metrics": ["f1", "mean_iou", "accuracy"]}
    return ModelCardData(library_name="cerraseg", pipeline_tag="image-segmentation", **fields).to_yaml()


def _title(run: Run) -> str:
    """Name of the model; of a user's own model, its parts."""
    if "architecture" not in run.settings:
        return "Ensemble" if run.scenario.recipe == ENSEMBLE else MODEL_TITLES[run.scenario.model]
    late = " for each modality" if run.settings.get("fusion") == "late" else ""
    return f"{run.settings['architecture']} with the encoder {run.settings['encoder']}{late}"


def _bands(run: Run, statistics: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    """Give channel, name and sensor of each band, and what it is normalised by if it is."""
    sensors = run.dataset.sensors_of(run.scenario.modality)
    bands = [(band, sensor.title) for sensor in sensors for band in sensor.bands]
    used = constants(run.recipe, {name: statistics[name] for name, _ in bands}) if statistics else []
    for channel, band in enumerate(bands):
        yield (channel, *band, *(f"{value:.6g}" for value in (used[channel] if used else ())))


def _training(run: Run, statistics: Mapping[str, Any], history: pd.DataFrame) -> dict[str, object]:
    """Gather what the template's section on training shows."""
    weighting = WEIGHTINGS[run.scenario.weighting]
    weights = weighting.balance(statistics["levels"][run.scenario.level]).class_weights
    return {
        "epochs": len(history),
        "best": history[history["selected"]].iloc[0],
        "others": [(name.replace("_", " "), value) for name, value in run.training.items() if name != "epochs"],
        "weighting": weighting.description,
        "weights": "none" if weights is None else f"by class id: {', '.join(map('{:.4g}'.format, weights))}",
    }


def _listed(words: Sequence[str]) -> str:
    """Join words by commas, the last by "and"."""
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def _recipe(recipe: Recipe) -> list[tuple[str, object, str]]:
    """Field, value and meaning, which is the comment beside or above the field in the source of :class:`Recipe`."""
    fields = re.findall(r"((?:^ {4}# .+\n)*)^ {4}(\w+): [^#\n]+(?:# (.+))?$", inspect.getsource(Recipe), re.MULTILINE)
    meanings = {name: beside or " ".join(above.replace("# ", "").split()) for above, name, beside in fields}
    return [(name, value, meanings[name]) for name, value in asdict(recipe).items()]


def _score(metrics: Mapping[str, Any], name: str) -> tuple[str, str | None]:
    ends = metrics["intervals"].get(name)
    return f"{100 * metrics['scores'][name]:.2f}", f"{100 * ends[0]:.2f} to {100 * ends[1]:.2f}" if ends else None


def _beside(metrics: Path, baseline: Path) -> str:
    other, (value, low, high) = _read(baseline), above_baseline(metrics, baseline)
    known = "not on the same patches" if math.isnan(value) else f"difference {value:+.2f} points"
    known += "" if math.isnan(low) else f" [{low:.1f}, {high:.1f}]"
    return f"baseline {other['scenario']['id']}: {100 * other['scores']['macro_f1']:.2f} %, {known}"


def _percent(ratios: Mapping[str, Any], *names: str) -> list[str]:
    return [f"{100 * ratios[name]:.2f}" for name in names]


def _rare(classes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    total = sum(entry["support"] for entry in classes)
    for entry in classes:
        if entry["support"] < RARE * total:
            share = f"{100 * entry['support'] / total:.3f} %" if entry["support"] else "absent"
            yield f"{entry['name']} ({share}{'' if entry['predicted'] else ', never predicted'})"
