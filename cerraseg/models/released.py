"""Find the authors' released checkpoint of a scenario by the file's name.

Known names are ``unet_14cMSISAR_W_model_epoch_92.pt``, ``unet_7cMSISAR_2nonW_model_epoch_29.pt`` and
``transnuseg_7cMSISAR_w_epoch:12_loss….pt``; some zips and file systems replace the colon.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from cerraseg.config.scenario import PUBLISHED_MODELS, Scenario
from cerraseg.core.content import content
from cerraseg.core.errors import DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log

_EXAMPLE = "unet_14cMSISAR_W_model_epoch_92.pt"
_LEVELS = {"7c": "l1", "14c": "l2"}
_MODALITIES = {"msisar": "concat", "concat": "concat", "msi": "msi", "sar": "sar"}
_WEIGHTINGS = {"w": "w", "nonw": "nw", "nw": "nw"}


def find_checkpoints(folder: Path) -> dict[str, Path]:
    """Find the checkpoint file of every scenario in ``folder``, at any depth.

    The modality is in the file's name or in that of the nearest folder above it. Of several files for one scenario the
    highest epoch is taken, as the authors' code saves the best model so far under its epoch. A file whose name and
    folders do not tell its scenario is skipped with a warning.

    Returns:
        ``<model>-<modality>-<weighting>-<level>``, such as ``unet-concat-w-l1`` → file.
    """
    candidates: defaultdict[str, list[tuple[int, Path]]] = defaultdict(list)
    for file in _files(folder):
        if (parsed := _parse(file, folder)) is None:
            log.warning("skipped %s: name and folders do not tell one model, modality, weighting and level", file)
            continue
        key, epoch = parsed
        candidates[key].append((epoch, file))
    return {key: max(files, key=lambda pair: pair[0])[1] for key, files in candidates.items()}


def write_listing(path: Path, folder: Path, origin: Mapping[str, object]) -> None:
    """List the checkpoints in ``folder`` as JSON: ``origin``, and file, bytes and SHA-256 of each scenario."""
    found = find_checkpoints(folder)
    if not found:
        raise DataError(
            f"{folder} holds no released checkpoint; expected files such as {_EXAMPLE}, "
            f"found {', '.join(sorted(file.name for file in folder.iterdir())[:10]) or 'nothing'}. Check `released`"
        )
    checkpoints = {
        key: {"file": file.relative_to(folder).as_posix(), **asdict(content(file))} for key, file in found.items()
    }
    listing = {"origin": origin, "folder": folder.as_posix(), "checkpoints": checkpoints}
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(listing, indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8")


def released_checkpoint(listing: Path, scenario: Scenario) -> Path:
    """Return the file of a scenario by a listing of :func:`write_listing`; refuse a scenario that is not there."""
    listed = json.loads(listing.read_text(encoding="utf-8"))
    key = f"{scenario.model}-{scenario.modality}-{scenario.weighting}-{scenario.level}"
    if (entry := listed["checkpoints"].get(key)) is None:
        raise DataError(
            f"There is no released checkpoint for {key}; there is {', '.join(listed['checkpoints'])}. Choose one of "
            f"these scenarios, or add the file under a name such as {_EXAMPLE}."
        )
    return Path(listed["folder"], entry["file"])


def _files(folder: Path) -> Iterator[Path]:
    """Yield the checkpoint files below ``folder`` in name order, without hidden ones and those that macOS adds."""
    for file in sorted(folder.rglob("*.[pP][tT]*")):
        parts = file.relative_to(folder).parts
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
        if file.suffix.lower() in (".pt", ".pth") and file.is_file() and not hidden:
            yield file


def _parse(file: Path, folder: Path) -> tuple[str, int] | None:
    """Return scenario and epoch (-1 if not given) from the name of ``file`` and its folders up to ``folder``."""
    before, _, after = file.stem.lower().partition("epoch")
    words = re.findall("[a-z0-9]+", re.sub(r"(?<![a-z0-9])(7|14)c", r"\1c ", before))
    folders = [*reversed(file.relative_to(folder).parts[:-1]), folder.absolute().name]
    home = next((name.lower() for name in folders if name.lower() in _MODALITIES), "")
    weightings = [word.lstrip("0123456789") for word in words]  # 2nonW
    axes = (
        {word for word in words if word in PUBLISHED_MODELS},
        {_MODALITIES[word] for word in (*words, home) if word in _MODALITIES},
        {_WEIGHTINGS[word] for word in weightings if word in _WEIGHTINGS},
        {_LEVELS[word] for word in words if word in _LEVELS},
    )
    if any(len(values) != 1 for values in axes):
        return None
    epoch = re.match(r"[^a-z0-9]*(\d+)", after)
    return "-".join(value for (value,) in axes), int(epoch[1]) if epoch else -1
