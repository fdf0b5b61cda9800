"""A STAC item of a model by the extension for machine learning models."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cerraseg.core.files import atomic_write
from cerraseg.core.versions import versions
from cerraseg.mapping.model import Model, load
from cerraseg.mapping.stac import class_name

_WORLD = {"type": "Polygon", "coordinates": [[[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]]}
_FIRST_IMAGE, _LAST_IMAGE = datetime(2014, 4, 3, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


def write_model_item(model_file: Path, target: Path) -> None:
    """Write a STAC item that describes a model: bands and their statistics, input and output, legend, file.

    Source: the STAC extension MLM, Machine Learning Model, version 1.4, as pystac writes it.

    Raises:
        DataError: if the model cannot be read.
    """
    from pystac import Asset, Item
    from pystac.extensions import mlm

    model = load(model_file, "cpu")
    known = {"cerraseg:statistics": model.summary()["statistics"]}
    item = Item(model_file.stem, _WORLD, [-180, -90, 180, 90], None, known, _FIRST_IMAGE, _LAST_IMAGE)
    extension = mlm.MLMExtension.ext(item, add_if_missing=True)
    extension.apply(
        name=str(model.training.get("scenario", model_file.stem)),
        architecture=model.blueprint.model,
        tasks=[mlm.TaskType.SEMANTIC_SEGMENTATION],
        framework="pytorch",
        framework_version=versions()["torch"],
        total_parameters=model.summary()["parameters"],
        input=[_input(model, mlm)],
        output=[_output(model, mlm)],
    )
    item.add_asset("model", Asset(model_file.name, "Model", media_type=_media(model_file), roles=["mlm:model"]))
    text = json.dumps(item.to_dict(include_self_link=False, transform_hrefs=False), indent=2, ensure_ascii=False)
    with atomic_write(target) as part:
        part.write_text(text + "\n", encoding="utf-8")


def _media(file: Path) -> str:
    return "application/onnx" if file.suffix == ".onnx" else "application/octet-stream; application=pytorch"


def _input(model: Model, mlm: Any) -> Any:
    size = model.dataset.patch_size
    structure = mlm.InputStructure.create(
        shape=[-1, len(model.bands), size, size],
        dim_order=["batch", "bands", "height", "width"],
        data_type=mlm.DataType.FLOAT32,
    )
    return mlm.ModelInput.create(
        name="image",
        bands=list(model.bands),
        input=structure,
        description="Raw pixels in the units of training (cerraseg:statistics), NaN without data; it normalises them.",
    )


def _output(model: Model, mlm: Any) -> Any:
    from pystac.extensions.classification import Classification

    size, count = model.dataset.patch_size, len(model.legend)
    structure = mlm.ResultStructure.create(
        shape=[-1, count, size, size],
        dim_order=["batch", "class", "height", "width"],
        data_type=mlm.DataType.FLOAT32,
    )
    classes = [
        Classification.create(
            one.id, name=class_name(one), description=one.name, color_hint=bytes(one.colour).hex().upper()
        )
        for one in model.legend
    ]
    return mlm.ModelOutput.create(
        name="probabilities",
        tasks=[mlm.TaskType.SEMANTIC_SEGMENTATION],
        result=structure,
        classes=classes,
    )
