"""A model card for each scenario: what the checkpoint is, on what it stands, and what its scores are worth.

Source: M. Mitchell et al., "Model Cards for Model Reporting", Conference on Fairness, Accountability, and Transparency
(2019), 220–229. The YAML in front is what model hubs read. No path, host or user name of the machine gets into a card.
"""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cerraseg.card_facts import Facts, Run, Sources, gather
from cerraseg.files import replacing
from cerraseg.hopeless import verdict
from cerraseg.recipes import Recipe, model_settings
from cerraseg.scenario import RELEASED, Scenario
from cerraseg.software import versions
from cerraseg.taxonomy import LEVELS, MODALITIES, SAR_BANDS
from cerraseg.weightings import WEIGHTINGS

RARE = 0.01
"""A class with a smaller share of the scored pixels is named as rare."""

_PUBLISHED = "CerraData-4MM"
_MODELS = {"unet": "U-Net", "transnuseg": "TransNuSeg"}
_SENSORS = {"msi": "Sentinel-2", "sar": "Sentinel-1", "concat": "Sentinel-2 and Sentinel-1"}
_ORIGIN = {  # of a manifest: anything else in it might name this machine
    "dataset": "Kaggle handle",
    "version": "Kaggle version",
    "patches": "simulated patches",
    "scenes": "simulated scenes",
    "seed": "seed of the simulation",
}
_SCORES = {
    "macro_f1": "Macro F1",
    "miou": "mIoU",
    "accuracy": "Accuracy",
    "macro_f1_present": "Macro F1 (classes present)",
    "miou_present": "mIoU (classes present)",
    "weighted_f1": "Weighted F1",
    "kappa": "Kappa × 100",
}
_RATIOS = {"f1": "F1", "iou": "IoU", "precision": "Precision", "recall": "Recall"}


def write(card: Path, sources: Sources, run: Run, repository: Path) -> None:
    """Write a scenario's model card (Markdown, UTF-8). The same files, versions and commit give the same bytes.

    Args:
        card: file to write.
        sources: the scenario's files and those of its data. Without a history, nothing is said of a training.
        run: what the configuration says.
        repository: folder of the source tree; its commit of now is named, which need not be that of the training.
    """
    facts = gather(sources, repository)
    sections = (_opening, _model, _bands, _output, _data, _split, _training, _scores, _classes, _use, _software)
    text = "\n\n".join(part for section in sections for part in section(run, facts))
    with replacing(card) as part:
        part.write_text(f"{_front_matter(run)}\n\n{text}\n", encoding="utf-8")


def _front_matter(run: Run) -> str:
    scenario = run.scenario
    tags = ["remote-sensing", "land-cover", "land-use", "semantic-segmentation", "pytorch", scenario.model]
    tags += _SENSORS[scenario.modality].lower().split(" and ")
    tags += ["cerrado", "cerradata-4mm"] if run.label == _PUBLISHED else ["simulated-data"] if run.simulated else []
    lists = {"tags": tags, "metrics": ["f1", "mean_iou", "accuracy"]}
    lines = [line for name, values in lists.items() for line in (f"{name}:", *(f"- {value}" for value in values))]
    license_ = "# license: for whoever publishes the model to choose"
    return "\n".join(["---", license_, "library_name: cerraseg", "pipeline_tag: image-segmentation", *lines, "---"])


def _opening(run: Run, facts: Facts) -> Iterator[str]:
    scenario = run.scenario
    yield f"# {scenario.id}"
    yield (
        f"{_title(run)} for land use and land cover: {len(LEVELS[scenario.level])} classes "
        f"({scenario.level.upper()}) from {len(MODALITIES[scenario.modality])} bands of {_SENSORS[scenario.modality]}. "
        "A model card after Mitchell et al. (2019), written by the CerraSeg workflow."
    )
    if facts.history is None:
        yield f"**Not trained here**: {_giver(scenario)}. It was scored here, on {_plain(run.label)}."
    if run.simulated:
        yield (
            f"**The data is simulated ({_plain(run.label)}). The scores show that the pipeline works; they say nothing "
            "about real land.**"
        )


def _title(run: Run) -> str:
    """What the model is called; a configuration's own by what it is made of."""
    own = run.settings.get("architecture")
    late = " for each modality" if run.settings.get("fusion") == "late" else ""
    return f"{own} with the encoder {run.settings['encoder']}{late}" if own else _MODELS[run.scenario.model]


def _giver(scenario: Scenario) -> str:
    released = scenario.recipe == RELEASED
    return f"the checkpoint was {'released by the authors of the data set' if released else 'given by the user'}"


def _model(run: Run, facts: Facts) -> Iterator[str]:
    scenario = run.scenario
    yield "## Model"
    yield f"{_title(run)} in `checkpoint.pt`: {facts.checkpoint}."
    if facts.history is not None:
        yield _table(("Setting", "Value"), model_settings(scenario.model, run.settings, run.recipe).items())
    if facts.history is not None and run.pretrained:
        yield f"Its encoder started from the parameters in `{run.pretrained}`, the first layer adapted to the bands."
    yield "To use it, beside the file and with the package `cerraseg` (the folder of its repository will do):"
    top_down = run.recipe.hierarchy > 0
    classes = "inference.decide(inference.probabilities(logits), top_down=True)[0]" if top_down else "logits.argmax(1)"
    snippet = [
        "import torch",
        f"from cerraseg import checkpoint{', inference' if top_down else ''}",
        "",
        'model, blueprint, training = checkpoint.load("checkpoint.pt")',
        f"images = torch.zeros(1, {len(MODALITIES[scenario.modality])}, 128, 128)  # your patches, raw pixels",
        "with torch.inference_mode():",
        f"    {'logits, edge_logits' if scenario.edges else '(logits,)'} = model(images)",
        f"classes = {classes}  # ids (1, 128, 128)",
        *(["edges = edge_logits.argmax(1) == 1"] if scenario.edges else []),
    ]
    yield "\n".join(["```python", *snippet, "```"])


def _bands(run: Run, facts: Facts) -> Iterator[str]:
    names, zscored = MODALITIES[run.scenario.modality], facts.history is not None and run.recipe.zscore
    rows: list[tuple[object, ...]] = []
    for place, name in enumerate(names):
        band = facts.statistics["bands"][name] if zscored else {}
        scale = (f"{band['mean']:.6g}", f"{band['std'] or 1:.6g}") if zscored else ()
        rows.append((place, name, _SENSORS["sar" if name in SAR_BANDS else "msi"], *scale))
    yield "### Input"
    yield (
        "float32 `(patches, bands, 128, 128)`: patches of 128 × 128 pixels (of 10 m in CerraData-4MM), the bands as "
        "channels in this order:"
    )
    yield _table(("Channel", "Band", "Sensor", "Mean", "Standard deviation")[: len(rows[0])], rows)
    inside = "the loaded model subtracts the training patches' mean and divides by their standard deviation"
    if not zscored:
        inside = "nothing is normalised"
    if facts.history is None:
        inside = "the loaded model normalises by its `blueprint.mean` and `blueprint.std`, where they are not empty"
    yield (
        f"Feed raw pixels: {inside}. Units are those of the training data: in CerraData-4MM, Sentinel-2 is reflectance "
        "× 10,000 plus an offset and Sentinel-1 linear, not in decibels (inferred from its published statistics)."
    )


def _output(run: Run, facts: Facts) -> Iterator[str]:
    classes = LEVELS[run.scenario.level]
    yield "### Output"
    yield f"Logits `(patches, {len(classes)}, 128, 128)`, before any softmax, the classes as channels in this order:"
    yield _table(("Id", "Class", "Name"), ((entry.id, entry.abbreviation, entry.name) for entry in classes))
    if run.recipe.hierarchy:
        yield (
            "The model was trained for both levels. The class is decided from the top: first the L1 class whose L2 "
            "classes have the largest sum of probabilities, then the best of these."
        )
    if run.scenario.edges:
        yield "Then logits of the edges between classes: a pixel is an edge where channel 1 is the largest."


def _data(run: Run, facts: Facts) -> Iterator[str]:
    origin = facts.manifest["origin"]
    yield "## Data"
    if run.label == _PUBLISHED:
        yield (
            "CerraData-4MM (Miranda et al. 2025, arXiv:2502.00083): Bico do Papagaio, Brazilian Cerrado; images of "
            "2022 and labels from TerraClass Cerrado 2022."
        )
    rows = {"source": run.label} | {title: origin[name] for name, title in _ORIGIN.items() if name in origin}
    rows |= {"patches, all checked": f"{facts.header['patches']:,}"}
    rows |= {f"digest of the {name}": facts.header[name] for name in ("ids", "pixels")}
    yield _table(("What", "Value"), rows.items())
    yield "Equal digests mean the same patches in the same order, with the same images, masks and edges."


def _split(run: Run, facts: Facts) -> Iterator[str]:
    parts = ("train", "validation", "test")
    said = (name for name, value in run.split.items() if name not in parts and value != [])
    rules = ", ".join(f"{name.replace('_', ' ')} {_plain(run.split[name])}" for name in said)
    yield "## Split"
    yield f"{rules[:1].upper()}{rules[1:]}. `split.csv` names the part of every patch: {facts.split}."
    rows = [(part, run.split[part], f"{facts.parts[part]:,}") for part in parts]
    if unused := facts.parts.get("buffer"):
        rows.append(("buffer, used by nobody", None, f"{unused:,}"))
    yield _table(("Part", "Share", "Patches"), rows)
    if leakage := facts.metrics.get("leakage"):
        yield (
            f"{100 * leakage['touching']:.1f} % of the test patches touch a training patch; the median gap between a "
            f"test patch and the nearest training patch is {leakage['median_metres']:,.0f} m."
        )


def _training(run: Run, facts: Facts) -> Iterator[str]:
    scenario, history = run.scenario, facts.history
    if history is None:
        yield "## Where the checkpoint comes from"
        yield f"Not trained here: {_giver(scenario)}. Of its training, nothing is known here but this file:"
        name, size, sha256 = (facts.origin[key] for key in ("file", "bytes", "sha256"))
        yield _table(("What", "Value"), (("file", Path(name).name), ("bytes", f"{size:,}"), ("SHA-256", sha256)))
        yield "The recipe and the seed in the scenario's name say nothing about it."
        return
    weighting = WEIGHTINGS[scenario.weighting]
    weights = weighting.balance(facts.statistics["levels"][scenario.level]).class_weights
    best = history[history["selected"]].iloc[0]
    rows = {
        "recipe": scenario.recipe,
        "seed": scenario.seed,
        "epochs at most": run.training["epochs"],
        "epochs run": len(history),
        "best epoch, the one kept": int(best["epoch"]),
        "its macro F1 on the validation patches": f"{100 * best['val_macro_f1']:.2f} %",
        **{name.replace("_", " "): value for name, value in run.training.items() if name != "epochs"},
        "for rare classes": weighting.says,
        "class weights in the loss": _by_class_id(weights),
    }
    yield "## Training"
    yield _table(("What", "Value"), rows.items())
    yield "The recipe, field by field:"
    fields = asdict(run.recipe)
    yield _table(("Field", "Value", "Meaning"), ((name, fields[name], text) for name, text in _meanings().items()))


def _by_class_id(weights: Iterable[float] | None) -> str:
    return "none" if weights is None else "by class id: " + ", ".join(f"{value:.4g}" for value in weights)


def _given_up(run: Run, facts: Facts) -> str:
    """Why the training was given up; empty if it was not."""
    limits = run.training.get("hopeless_epoch", 0), run.training.get("hopeless_below", 0.0)
    return verdict(facts.history["val_macro_f1"].tolist(), *limits) if facts.history is not None else ""


def _meanings() -> dict[str, str]:
    """What each field of a recipe means: its docstring is the one truth."""
    found = re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", inspect.getdoc(Recipe) or "", re.MULTILINE)
    said = {name: " ".join(text.replace("``", "`").split()) for name, text in found}
    return {name: said.get(name, "") for name in Recipe.__dataclass_fields__}


def _scores(run: Run, facts: Facts) -> Iterator[str]:
    metrics = facts.metrics
    warning = " **Simulated: they say nothing about real land.**" if run.simulated else ""
    rows = []
    for name, title in _SCORES.items():
        ends = metrics["intervals"].get(name)
        span = f"{100 * ends[0]:.2f} to {100 * ends[1]:.2f}" if ends else None
        rows.append((title, f"{100 * metrics['scores'][name]:.2f}", span))
    yield "## Scores"
    yield (
        f"In percent, over {metrics['pixels']:,} labelled pixels of {metrics['patches']:,} test patches of "
        f"{_plain(metrics['source'])}.{warning}"
    )
    yield _table(("Score", "Value", "95 % interval"), rows)
    yield (
        f"By the rule of `metrics.json`: {metrics['rule']} Neighbouring patches are alike, so the intervals are a "
        "lower bound; the spread between trainings is not in them."
    )


def _classes(run: Run, facts: Facts) -> Iterator[str]:
    rows = (
        (entry["name"], *(f"{100 * entry[ratio]:.2f}" for ratio in _RATIOS), f"{entry['support']:,}")
        for entry in facts.metrics["classes"]
    )
    yield "### By class"
    yield _table(("Class", *_RATIOS.values(), "Support (pixels)"), rows)
    if edges := facts.metrics.get("edges"):
        ratios = ("precision", "recall", "f1")
        found = ((far, *(f"{100 * edges[far][ratio]:.2f}" for ratio in ratios)) for far in sorted(edges, key=int))
        yield "### Edges between classes"
        yield "Found within so many pixels of where they are:"
        yield _table(("Tolerance (pixels)", *(_RATIOS[ratio] for ratio in ratios)), found)


def _use(run: Run, facts: Facts) -> Iterator[str]:
    yield "## Intended use and limits"
    yield (
        "For research on land-use and land-cover mapping, and to be compared with models that were scored on the same "
        "test patches."
    )
    yield "\n".join(f"- {limit}" for limit in _limits(run, facts))


def _limits(run: Run, facts: Facts) -> Iterator[str]:
    yield "Not for legal or enforcement decisions without checks on the ground."
    if given_up := _given_up(run, facts):
        yield f"The training was {given_up}. Nothing is known of what it would have come to."
    if run.simulated:
        yield "The data is simulated: nothing here was tried on real land."
    if facts.history is None:
        yield "The checkpoint may have been trained on test patches of this split; then its scores are no test."
    elif run.scenario.recipe == "paper":
        yield "The recipe repeats the published training, faults included, to be compared with it."
    if run.split["scheme"] == "paper":
        yield (
            "The split draws patches at random out of contiguous scenes: test patches touch training patches, which "
            "flatters the scores. Expect lower ones elsewhere."
        )
    if rare := ", ".join(_rare(facts.metrics["classes"])):
        yield f"Rare classes among the scored pixels, whose scores stand on little: {rare}."
    yield "Other regions, years, seasons, sensors and processing levels than those of the training data are untried."
    yield (
        "Feed the same bands, in the same order and units: others (decibels, reflectance from 0 to 1, another offset) "
        "give wrong classes without a warning."
    )


def _rare(classes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    total = sum(entry["support"] for entry in classes)
    for entry in classes:
        if entry["support"] < RARE * total:
            share = f"{100 * entry['support'] / total:.3f} %" if entry["support"] else "absent"
            yield f"{entry['name']} ({share}{'' if entry['predicted'] else ', never predicted'})"


def _software(run: Run, facts: Facts) -> Iterator[str]:
    yield "## Software"
    yield "As this card was written:"
    yield _table(("What", "Version"), versions().items())
    trained = f"Training code: digest `{run.train_code}`. " if facts.history is not None else ""
    yield f"{trained}Repository as this card was written: {facts.commit}."


def _table(headings: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table, with columns of numbers to the right."""
    cells = [[_plain(cell) for cell in row] for row in rows]
    columns = list(zip(*cells, strict=True))
    rules = ["--:" if all(re.fullmatch(r"[-\d.,]+|–", cell) for cell in column) else ":--" for column in columns]
    return "\n".join("| " + " | ".join(row) + " |" for row in [headings, rules, *cells])


def _plain(value: object) -> str:
    """A value as text that stays within its line and its table cell."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;").replace("](", "]\\(")
