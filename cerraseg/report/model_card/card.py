"""A model card for each scenario: what the checkpoint is, how it was made, and what its scores are worth.

Source: M. Mitchell et al., "Model Cards for Model Reporting", Conference on Fairness, Accountability, and Transparency
(2019), 220–229. No path, host or user name of the machine gets into a card.
"""

import inspect
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from huggingface_hub import ModelCardData

from cerraseg.config.recipes import Recipe, model_settings
from cerraseg.config.scenario import RELEASED
from cerraseg.core.files import atomic_write
from cerraseg.core.taxonomy import LEVELS, MODALITIES, SAR_BANDS
from cerraseg.core.versions import commit, versions
from cerraseg.data.tables import read_split
from cerraseg.report.markdown import markdown_table, markdown_template, markdown_text
from cerraseg.report.model_card.facts import Run, Sources, read_json, size_and_hash
from cerraseg.training.weightings import WEIGHTINGS

PUBLISHED = "CerraData-4MM"
RARE = 0.01
"""A class with a smaller share of the scored pixels is named as rare."""

_ORIGIN = {  # of a manifest: anything else in it might name this machine
    "dataset": "Kaggle handle",
    "version": "Kaggle version",
    "patches": "simulated patches",
    "scenes": "simulated scenes",
    "seed": "seed of the simulation",
}
_MODELS = {"unet": "U-Net", "transnuseg": "TransNuSeg"}
_SENSORS = {"msi": "Sentinel-2", "sar": "Sentinel-1", "concat": "Sentinel-2 and Sentinel-1"}
_SCORES = {
    "macro_f1": "Macro F1",
    "miou": "mIoU",
    "accuracy": "Accuracy",
    "macro_f1_present": "Macro F1 (classes present)",
    "miou_present": "mIoU (classes present)",
    "weighted_f1": "Weighted F1",
    "kappa": "Kappa × 100",
}


def write_model_card(path: Path, sources: Sources, run: Run, repository: Path) -> None:
    """Write a scenario's model card in Markdown with the front matter that model hubs read.

    The same files, versions and commit give the same bytes.

    Args:
        path: file to write.
        sources: files of the scenario and of its data. Without a history, the card tells of no training.
        run: the scenario's configuration.
        repository: folder of the source tree, whose present commit is named; the training may have had another.
    """
    scenario, metrics = run.scenario, read_json(sources.metrics)
    statistics, trained = read_json(sources.statistics), sources.history is not None
    text = markdown_template(Path(__file__).with_name("assets") / "model_card.md.jinja").render(
        table=markdown_table,
        run=run,
        checkpoint=size_and_hash(sources.checkpoint),
        split=size_and_hash(sources.split),
        commit=commit(repository),
        scenario=scenario,
        metrics=metrics,
        trained=trained,
        published=run.label == PUBLISHED,
        front_matter=_front_matter(run),
        title=_title(run),
        giver="released by the authors of the data set" if scenario.recipe == RELEASED else "given by the user",
        sensors=_SENSORS[scenario.modality],
        settings=model_settings(scenario.model, run.settings, run.recipe),
        bands=list(_bands(run, statistics if trained and run.recipe.zscore else None)),
        classes=[(entry.id, entry.abbreviation, entry.name) for entry in LEVELS[scenario.level]],
        data=_data(run, read_json(sources.manifest)["origin"], read_json(sources.header)),
        split_rules=_split_rules(run.split),
        parts=list(_parts(run, Counter(read_split(sources.split)["split"]))),
        leakage=metrics.get("leakage"),
        training=_training(run, statistics, pd.read_csv(sources.history)) if sources.history else {},
        recipe=_recipe(run.recipe),
        origin=_origin(read_json(sources.origin)) if sources.origin else {},
        scores=list(_scores(metrics)),
        class_scores=[
            (entry["name"], *_percent(entry, "f1", "iou", "precision", "recall"), f"{entry['support']:,}")
            for entry in metrics["classes"]
        ],
        edges=_edges(metrics.get("edges") or {}),
        rare=", ".join(_rare(metrics["classes"])),
        versions=versions(),
    )
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")


def _front_matter(run: Run) -> str:
    scenario = run.scenario
    tags = ["remote-sensing", "land-cover", "land-use", "semantic-segmentation", "pytorch", scenario.model]
    tags += _SENSORS[scenario.modality].lower().split(" and ")
    tags += ["cerrado", "cerradata-4mm"] if run.label == PUBLISHED else ["simulated-data"] if run.simulated else []
    metrics = ["f1", "mean_iou", "accuracy"]
    return ModelCardData(
        library_name="cerraseg", pipeline_tag="image-segmentation", tags=tags, metrics=metrics
    ).to_yaml()


def _title(run: Run) -> str:
    """Name of the model; of a user's own model, its parts."""
    architecture = run.settings.get("architecture")
    late = " for each modality" if run.settings.get("fusion") == "late" else ""
    if architecture:
        return f"{architecture} with the encoder {run.settings['encoder']}{late}"
    return _MODELS[run.scenario.model]


def _bands(run: Run, statistics: Mapping[str, Any] | None) -> Iterator[tuple[object, ...]]:
    """Give channel, name and sensor of each band, and what it is normalised by if it is."""
    for channel, name in enumerate(MODALITIES[run.scenario.modality]):
        row = (channel, name, _SENSORS["sar" if name in SAR_BANDS else "msi"])
        band = statistics["bands"][name] if statistics else None
        yield (*row, f"{band['mean']:.6g}", f"{band['std'] or 1:.6g}") if band else row


def _data(run: Run, origin: Mapping[str, Any], header: Mapping[str, Any]) -> dict[str, object]:
    return {
        "source": run.label,
        **{title: origin[name] for name, title in _ORIGIN.items() if name in origin},
        "patches, all checked": f"{header['patches']:,}",
        "digest of the ids": header["ids"],
        "digest of the pixels": header["pixels"],
    }


def _split_rules(split: Mapping[str, Any]) -> str:
    rules = (
        f"{name.replace('_', ' ')} {markdown_text(value)}"
        for name, value in split.items()
        if name not in ("train", "validation", "test") and value != []
    )
    text = ", ".join(rules)
    return text[:1].upper() + text[1:]


def _parts(run: Run, counts: Mapping[str, int]) -> Iterator[tuple[object, ...]]:
    for part in ("train", "validation", "test"):
        yield part, run.split[part], f"{counts[part]:,}"
    if unused := counts.get("buffer"):
        yield "buffer, used by nobody", None, f"{unused:,}"


def _training(run: Run, statistics: Mapping[str, Any], history: pd.DataFrame) -> dict[str, object]:
    scenario = run.scenario
    weighting = WEIGHTINGS[scenario.weighting]
    weights = weighting.balance(statistics["levels"][scenario.level]).class_weights
    best = history[history["selected"]].iloc[0]
    return {
        "recipe": scenario.recipe,
        "seed": scenario.seed,
        "epochs at most": run.training["epochs"],
        "epochs run": len(history),
        "best epoch, the one kept": int(best["epoch"]),
        "its macro F1 on the validation patches": f"{100 * best['val_macro_f1']:.2f} %",
        **{name.replace("_", " "): value for name, value in run.training.items() if name != "epochs"},
        "for rare classes": weighting.description,
        "class weights in the loss": "none"
        if weights is None
        else f"by class id: {', '.join(map('{:.4g}'.format, weights))}",
    }


def _recipe(recipe: Recipe) -> list[tuple[str, object, str]]:
    """Field, value and meaning, which is that of the docstring of :class:`Recipe`."""
    found = re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", inspect.getdoc(Recipe) or "", re.MULTILINE)
    meanings = {name: " ".join(text.replace("``", "`").replace(":func:", "").split()) for name, text in found}
    return [(name, value, meanings.get(name, "")) for name, value in asdict(recipe).items()]


def _origin(origin: Mapping[str, Any]) -> dict[str, object]:
    return {"file": Path(origin["file"]).name, "bytes": f"{origin['bytes']:,}", "SHA-256": origin["sha256"]}


def _scores(metrics: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    for name, title in _SCORES.items():
        ends = metrics["intervals"].get(name)
        span = f"{100 * ends[0]:.2f} to {100 * ends[1]:.2f}" if ends else None
        yield title, f"{100 * metrics['scores'][name]:.2f}", span


def _edges(edges: Mapping[str, Mapping[str, float]]) -> list[tuple[str, ...]]:
    return [(pixels, *_percent(edges[pixels], "precision", "recall", "f1")) for pixels in sorted(edges, key=int)]


def _percent(ratios: Mapping[str, Any], *names: str) -> list[str]:
    return [f"{100 * ratios[name]:.2f}" for name in names]


def _rare(classes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    total = sum(entry["support"] for entry in classes)
    for entry in classes:
        if entry["support"] < RARE * total:
            share = f"{100 * entry['support'] / total:.3f} %" if entry["support"] else "absent"
            yield f"{entry['name']} ({share}{'' if entry['predicted'] else ', never predicted'})"
