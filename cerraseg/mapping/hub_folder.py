"""A folder that model hubs take: parameters as safetensors, what the model is, and a card."""

import json
from pathlib import Path

from huggingface_hub import ModelCardData

from cerraseg.core.files import atomic_write
from cerraseg.mapping.model import Model, load
from cerraseg.mapping.model_item import write_model_item
from cerraseg.models.exchange import export

_CARD = """---
{data}
---

# {name}

{model}, {parameters:,} parameters, for {sensors}; {count} classes, level {level}, as the dataset description {dataset}
has them. Trained by CerraSeg; on which data, the file does not tell.

```python
import cerraseg

model = cerraseg.load("model.safetensors")
model.map({images}, out="map.tif")
```

| id | class |
|--:|---|
{classes}
"""


def write_hub_folder(model_file: Path, folder: Path, card: Path | None = None) -> None:
    """Write ``model.safetensors``, ``config.json``, ``item.json`` (STAC MLM) and the card ``README.md``.

    Args:
        card: model card of a workflow's run; None: a short one of what the checkpoint knows.

    Raises:
        DataError: if the model cannot be read.
    """
    model = load(model_file, "cpu")
    with atomic_write(folder) as part:
        part.mkdir()
        export(model_file, part / "model.safetensors", "safetensors")
        write_model_item(part / "model.safetensors", part / "item.json")
        summary = model.summary() | {"file": "model.safetensors"}
        (part / "config.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        text = card.read_text(encoding="utf-8") if card else _short_card(model)
        (part / "README.md").write_text(text, encoding="utf-8")


def _short_card(model: Model) -> str:
    summary = model.summary()
    tags = ["remote-sensing", "land-cover", "semantic-segmentation", str(summary["model"])]
    data = ModelCardData(library_name="cerraseg", pipeline_tag="image-segmentation", tags=tags)
    classes = "\n".join(f"| {entry['id']} | {entry['name']} |" for entry in summary["classes"])
    first, *others = summary["sensors"]
    images = ", ".join([f'"{first}.tif"', *(f'{name}="{name}.tif"' for name in others)])
    sensors = " and ".join(f"{name} ({', '.join(bands)})" for name, bands in summary["sensors"].items())
    known = summary | {"sensors": sensors, "classes": classes, "count": len(model.legend), "images": images}
    return _CARD.format(data=data.to_yaml(), name=model.training.get("scenario", model.file.stem), **known)
