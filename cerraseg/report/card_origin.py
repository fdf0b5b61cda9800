"""What a model card says of where a checkpoint comes from: data, split and training."""

import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from cerraseg.config.recipes import Recipe
from cerraseg.config.scenario import RELEASED, Scenario
from cerraseg.report.markdown import plain, table
from cerraseg.report.model_card_facts import Facts, Run
from cerraseg.training.weightings import WEIGHTINGS

PUBLISHED = "CerraData-4MM"
ORIGIN = {  # of a manifest: anything else in it might name this machine
    "dataset": "Kaggle handle",
    "version": "Kaggle version",
    "patches": "simulated patches",
    "scenes": "simulated scenes",
    "seed": "seed of the simulation",
}


def data(run: Run, facts: Facts) -> Iterator[str]:
    """The paragraphs on the patches."""
    origin = facts.manifest["origin"]
    yield "## Data"
    if run.label == PUBLISHED:
        yield (
            "CerraData-4MM (Miranda et al. 2025, arXiv:2502.00083): Bico do Papagaio, Brazilian Cerrado; images of "
            "2022 and labels from TerraClass Cerrado 2022."
        )
    rows = {"source": run.label} | {title: origin[name] for name, title in ORIGIN.items() if name in origin}
    rows |= {"patches, all checked": f"{facts.header['patches']:,}"}
    rows |= {f"digest of the {name}": facts.header[name] for name in ("ids", "pixels")}
    yield table(("What", "Value"), rows.items())
    yield "Equal digests mean the same patches in the same order, with the same images, masks and edges."


def split(run: Run, facts: Facts) -> Iterator[str]:
    """The paragraphs on the split, and on how near its parts lie."""
    parts = ("train", "validation", "test")
    said = (name for name, value in run.split.items() if name not in parts and value != [])
    rules = ", ".join(f"{name.replace('_', ' ')} {plain(run.split[name])}" for name in said)
    yield "## Split"
    yield f"{rules[:1].upper()}{rules[1:]}. `split.csv` names the part of every patch: {facts.split}."
    rows = [(part, run.split[part], f"{facts.parts[part]:,}") for part in parts]
    if unused := facts.parts.get("buffer"):
        rows.append(("buffer, used by nobody", None, f"{unused:,}"))
    yield table(("Part", "Share", "Patches"), rows)
    if leakage := facts.metrics.get("leakage"):
        yield (
            f"{100 * leakage['touching']:.1f} % of the test patches touch a training patch; the median gap between a "
            f"test patch and the nearest training patch is {leakage['median_metres']:,.0f} m."
        )


def training(run: Run, facts: Facts) -> Iterator[str]:
    """The paragraphs on the training or, of a checkpoint that came as it is, on the file."""
    scenario, history = run.scenario, facts.history
    if history is None:
        yield "## Where the checkpoint comes from"
        yield f"Not trained here: {giver(scenario)}. Of its training, nothing is known here but this file:"
        name, size, sha256 = (facts.origin[key] for key in ("file", "bytes", "sha256"))
        yield table(("What", "Value"), (("file", Path(name).name), ("bytes", f"{size:,}"), ("SHA-256", sha256)))
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
        "for rare classes": weighting.description,
        "class weights in the loss": _by_class_id(weights),
    }
    yield "## Training"
    yield table(("What", "Value"), rows.items())
    yield "The recipe, field by field:"
    fields = asdict(run.recipe)
    yield table(("Field", "Value", "Meaning"), ((name, fields[name], text) for name, text in _meanings().items()))


def giver(scenario: Scenario) -> str:
    """Who gave the checkpoint, as a clause."""
    released = scenario.recipe == RELEASED
    return f"the checkpoint was {'released by the authors of the data set' if released else 'given by the user'}"


def _by_class_id(weights: Iterable[float] | None) -> str:
    return "none" if weights is None else "by class id: " + ", ".join(f"{value:.4g}" for value in weights)


def _meanings() -> dict[str, str]:
    """What each field of a recipe means: its docstring is the one truth."""
    found = re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", inspect.getdoc(Recipe) or "", re.MULTILINE)
    said = {name: " ".join(text.replace("``", "`").split()) for name, text in found}
    return {name: said.get(name, "") for name in Recipe.__dataclass_fields__}
