"""A model card for each scenario: what the checkpoint is, on what it stands, and what its scores are worth.

Source: M. Mitchell et al., "Model Cards for Model Reporting", Conference on Fairness, Accountability, and Transparency
(2019), 220–229. The YAML in front is what model hubs read. No path, host or user name of the machine gets into a card.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cerraseg.config.recipes import model_settings
from cerraseg.core.files import atomic_write
from cerraseg.core.taxonomy import LEVELS, MODALITIES, SAR_BANDS
from cerraseg.core.versions import versions
from cerraseg.report.card_origin import PUBLISHED, data, giver, split, training
from cerraseg.report.markdown import plain, table
from cerraseg.report.model_card_facts import Facts, Run, Sources, gather

RARE = 0.01
"""A class with a smaller share of the scored pixels is named as rare."""

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
    sections = (
        _opening,
        _model,
        _bands,
        _output,
        data,
        split,
        training,
        _scores,
        _classes,
        _use,
        _software,
    )
    text = "\n\n".join(part for section in sections for part in section(run, facts))
    with atomic_write(card) as part:
        part.write_text(f"{_front_matter(run)}\n\n{text}\n", encoding="utf-8")


def _front_matter(run: Run) -> str:
    scenario = run.scenario
    tags = ["remote-sensing", "land-cover", "land-use", "semantic-segmentation", "pytorch", scenario.model]
    tags += _SENSORS[scenario.modality].lower().split(" and ")
    tags += ["cerrado", "cerradata-4mm"] if run.label == PUBLISHED else ["simulated-data"] if run.simulated else []
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
        yield f"**Not trained here**: {giver(scenario)}. It was scored here, on {plain(run.label)}."
    if run.simulated:
        yield (
            f"**The data is simulated ({plain(run.label)}). The scores show that the pipeline works; they say nothing "
            "about real land.**"
        )


def _title(run: Run) -> str:
    """What the model is called; a configuration's own by what it is made of."""
    own = run.settings.get("architecture")
    late = " for each modality" if run.settings.get("fusion") == "late" else ""
    return f"{own} with the encoder {run.settings['encoder']}{late}" if own else _MODELS[run.scenario.model]


def _model(run: Run, facts: Facts) -> Iterator[str]:
    scenario = run.scenario
    yield "## Model"
    yield f"{_title(run)} in `checkpoint.pt`: {facts.checkpoint}."
    if facts.history is not None:
        yield table(("Setting", "Value"), model_settings(scenario.model, run.settings, run.recipe).items())
    if facts.history is not None and run.pretrained:
        yield f"Its encoder started from the parameters in `{run.pretrained}`, the first layer adapted to the bands."
    yield "To use it, beside the file and with the package `cerraseg` (the folder of its repository will do):"
    hierarchical = run.recipe.hierarchical
    classes = (
        "inference.decide(inference.probabilities(logits), hierarchical=True)[0]"
        if hierarchical
        else "logits.argmax(1)"
    )
    snippet = [
        "import torch",
        f"from cerraseg.models import checkpoint{', inference' if hierarchical else ''}",
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
    yield table(("Channel", "Band", "Sensor", "Mean", "Standard deviation")[: len(rows[0])], rows)
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
    yield table(("Id", "Class", "Name"), ((entry.id, entry.abbreviation, entry.name) for entry in classes))
    if run.recipe.hierarchical:
        yield (
            "The model was trained for both levels. The class is decided from the top: first the L1 class whose L2 "
            "classes have the largest sum of probabilities, then the best of these."
        )
    if run.scenario.edges:
        yield "Then logits of the edges between classes: a pixel is an edge where channel 1 is the largest."


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
        f"{plain(metrics['source'])}.{warning}"
    )
    yield table(("Score", "Value", "95 % interval"), rows)
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
    yield table(("Class", *_RATIOS.values(), "Support (pixels)"), rows)
    if edges := facts.metrics.get("edges"):
        ratios = ("precision", "recall", "f1")
        found = ((far, *(f"{100 * edges[far][ratio]:.2f}" for ratio in ratios)) for far in sorted(edges, key=int))
        yield "### Edges between classes"
        yield "Found within so many pixels of where they are:"
        yield table(("Tolerance (pixels)", *(_RATIOS[ratio] for ratio in ratios)), found)


def _use(run: Run, facts: Facts) -> Iterator[str]:
    yield "## Intended use and limits"
    yield (
        "For research on land-use and land-cover mapping, and to be compared with models that were scored on the same "
        "test patches."
    )
    yield "\n".join(f"- {limit}" for limit in _limits(run, facts))


def _limits(run: Run, facts: Facts) -> Iterator[str]:
    yield "Not for legal or enforcement decisions without checks on the ground."
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
    yield table(("What", "Version"), versions().items())
    trained = f"Training code: digest `{run.train_code}`. " if facts.history is not None else ""
    yield f"{trained}Repository as this card was written: {facts.commit}."
