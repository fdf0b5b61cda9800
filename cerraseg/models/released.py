"""Find the authors' released checkpoint of a scenario by the file's name.

Known names are ``unet_14cMSISAR_W_model_epoch_92.pt``, ``unet_7cMSISAR_2nonW_model_epoch_29.pt`` and
``transnuseg_7cMSISAR_w_epoch:12_loss….pt``; some zips and file systems replace the colon.
"""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from cerraseg.config.scenario import Scenario
from cerraseg.core.errors import DataError
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log, progress

T = TypeVar("T")
Key = tuple[str, str, str, str]
"""Model, modality, weighting and level: what a released checkpoint was trained on, all else being published."""

_LEVELS = {"7": "l1", "14": "l2"}
_MODALITIES = {"msisar": "concat", "concat": "concat", "msi": "msi", "sar": "sar"}
_WEIGHTINGS = {"w": "w", "nonw": "nw", "nw": "nw"}


def find_checkpoints(folder: Path) -> dict[Key, Path]:
    """Find the checkpoint file of every scenario in ``folder``, at any depth, in the order of the keys.

    The modality is in the file's name, else in that of the nearest folder above it. Of several files for one scenario
    the highest epoch is taken, as the authors' code saves the best model so far under its epoch. A file with another
    kind of name is skipped with a warning.

    Raises:
        DataError: if the name and the folder of a file contradict each other.
    """
    candidates: defaultdict[Key, list[tuple[int, Path]]] = defaultdict(list)
    for file in _files(folder):
        if (parsed := _parse(file, folder)) is None:
            log.warning("skipped %s: its name does not tell model, classes, modality and weighting", file)
            continue
        key, epoch = parsed
        candidates[key].append((epoch, file))
    found = {}
    for key, files in sorted(candidates.items()):
        files.sort(key=lambda pair: -pair[0])
        found[key] = files[0][1]
        if len(files) > 1:
            passed_over = ", ".join(file.name for _, file in files[1:])
            log.info("%s: %s has the highest epoch; passed over %s", "-".join(key), found[key].name, passed_over)
    return found


def released_checkpoint(listing: Path, scenario: Scenario) -> Path:
    """Return the file of a scenario by a listing; raises as :func:`read_listing` and :func:`choose_checkpoint` do."""
    return choose_checkpoint(
        read_listing(listing), scenario.model, scenario.modality, scenario.weighting, scenario.level
    )


def choose_checkpoint(found: Mapping[Key, T], model: str, modality: str, weighting: str, level: str) -> T:
    """Return the entry of a scenario in ``found``.

    Raises:
        DataError: if there is none; the message lists the others, the most similar first.
    """
    wanted = (model, modality, weighting, level)
    if wanted in found:
        return found[wanted]
    nearest = sorted(found, key=lambda key: (-sum(a == b for a, b in zip(key, wanted, strict=True)), key))
    there = ", ".join("-".join(key) for key in nearest) or "none at all"
    raise DataError(
        f"There is no released checkpoint for {'-'.join(wanted)}; there is {there}. Choose one of these scenarios, or "
        "add the file under a name such as unet_14cMSISAR_W_model_epoch_92.pt."
    )


def write_listing(path: Path, folder: Path, origin: Mapping[str, object]) -> None:
    """List the checkpoints in ``folder`` as JSON: ``origin``, and file, bytes and SHA-256 of each scenario.

    The same files give the same bytes.

    Raises:
        DataError: if ``folder`` holds no checkpoint.
    """
    found = find_checkpoints(folder)
    if not found:
        raise DataError(
            f"{folder} holds no released checkpoint; expected files such as unet_14cMSISAR_W_model_epoch_92.pt, "
            f"found {', '.join(sorted(file.name for file in folder.iterdir())[:10]) or 'nothing'}. Check `released`"
        )
    checkpoints = {}
    for key, file in progress(found.items(), "checksums", len(found)):
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        name = file.relative_to(folder).as_posix()
        checkpoints["-".join(key)] = {"file": name, "bytes": file.stat().st_size, "sha256": digest}
    listing = {"origin": origin, "folder": folder.as_posix(), "checkpoints": checkpoints}
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(listing, indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8")


def read_listing(path: Path) -> dict[Key, Path]:
    """Read the files in a listing of :func:`write_listing`.

    Raises:
        DataError: if it cannot be read, or if a file is gone or has another size than was listed.
    """
    try:
        listing = json.loads(path.read_text(encoding="utf-8"))
        files, sizes = {}, {}
        for name, entry in listing["checkpoints"].items():
            model, modality, weighting, level = name.split("-")
            file = files[model, modality, weighting, level] = Path(listing["folder"]) / entry["file"]
            sizes[file] = int(entry["bytes"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"Cannot read the listing of released checkpoints {path} ({error!r}). Delete it and get the checkpoints "
            "again."
        ) from None
    for file, size in sizes.items():
        if not file.is_file() or file.stat().st_size != size:
            raise DataError(
                f"The released checkpoint {file} is not there with the {size:,} bytes that {path} lists. Delete the "
                "listing and get the checkpoints again."
            )
    return files


def _files(folder: Path) -> Iterator[Path]:
    """Yield the checkpoint files below ``folder`` in name order, without hidden ones and those that macOS adds."""
    for file in sorted(folder.rglob("*")):
        parts = file.relative_to(folder).parts
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
        if file.suffix.lower() in (".pt", ".pth") and file.is_file() and not hidden:
            yield file


def _parse(file: Path, folder: Path) -> tuple[Key, int] | None:
    """Return scenario and epoch (-1 if not given) from the name of ``file`` and its folders up to ``folder``."""
    before, _, after = file.stem.lower().partition("epoch")
    words = [word for word in re.split(r"[^a-z0-9]+", before) if word]
    models = {word for word in words if word in ("unet", "transnuseg")}
    weightings = {_WEIGHTINGS[kind[1]] for word in words if (kind := re.fullmatch(r"\d*(w|nonw|nw)", word))}
    classes = [found.groups() for word in words if (found := re.fullmatch(r"(7|14)c(msisar|concat|msi|sar)?", word))]
    levels = {_LEVELS[number] for number, _ in classes}
    modalities = {_MODALITIES[name] for name in [*words, *(bands for _, bands in classes)] if name in _MODALITIES}
    above = [*reversed(file.relative_to(folder).parts[:-1]), folder.absolute().name]
    home = next((_MODALITIES[name.lower()] for name in above if name.lower() in _MODALITIES), None)
    if home and modalities - {home}:
        raise DataError(
            f"{file} is for {' and '.join(sorted(modalities))} by its name, but lies in a folder for {home}. "
            "Move it to where it belongs, or rename it."
        )
    modalities |= {home} if home else set()
    if any(len(values) != 1 for values in (models, modalities, weightings, levels)):
        return None
    epoch = re.match(r"[^a-z0-9]*(\d+)", after)
    key = (models.pop(), modalities.pop(), weightings.pop(), levels.pop())
    return key, int(epoch[1]) if epoch else -1
