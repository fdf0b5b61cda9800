"""A second search for bytes that a reader trips over, by atheris, which follows how far they come in its code.

    make fuzz-guided                       two minutes for each kind of file
    make fuzz-guided ARGS="checkpoint split" SECONDS=600

It pays for readers written in Python; what C reads (GDAL, Parquet), hypothesis damages in the tests beside this file. A
find is printed with its bytes; they then become a case of that reader's tests.
"""

import io
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

Reader = Callable[[Path], Any]
SECONDS = int(os.environ.get("CERRASEG_SECONDS", "120"))
LOOKED_INTO = ("cerraseg", "csv", "json", "numpy.lib", "torch._weights_only_unpickler", "yaml")
LIMITS = ("-timeout=30", "-rss_limit_mb=4000", "-max_len=8000", "-print_final_stats=1")


def array() -> tuple[Reader, list[bytes]]:
    """A packed array."""
    import numpy as np

    from cerraseg.data import packed

    np.save(good := io.BytesIO(), np.zeros((3, 2, 4), np.float32))
    return packed.open_array, [good.getvalue()]


def checkpoint() -> tuple[Reader, list[bytes]]:
    """What torch unpickles, within an archive that is whole."""
    import torch

    from cerraseg.models import checkpoint

    content = {"blueprint": {"model": "unet", "settings": {}}, "parameters": {"a": torch.ones(4)}, "training": {}}
    torch.save(content, good := io.BytesIO())

    def read(path: Path) -> None:
        pickle = path.read_bytes()
        with zipfile.ZipFile(path, "w") as opened:
            for name, part in {"data.pkl": pickle, "version": b"3\n", "data/0": bytes(16)}.items():
                opened.writestr(f"archive/{name}", part)
        checkpoint.load(path)

    with zipfile.ZipFile(good) as opened:
        return read, [opened.read("archive/data.pkl")]


def configuration() -> tuple[Reader, list[bytes]]:
    """The strict reading of a configuration file; its values are for hypothesis, a check takes too long here."""
    from test_bad_configurations import SAID

    from cerraseg.config import strict_yaml

    return strict_yaml.check_yaml, [text.encode() for text in SAID if len(text) < 200]


def counts() -> tuple[Reader, list[bytes]]:
    """The counts of an evaluation."""
    import numpy as np

    from cerraseg.evaluation import score_files

    np.savez(good := io.BytesIO(), ids=np.array(["a", "b"]), confusion=np.zeros((2, 3, 3), int))
    return score_files.read_patches, [good.getvalue()]


def split() -> tuple[Reader, list[bytes]]:
    """A split table."""
    from cerraseg.data import tables

    return partial(tables.rows_of, patches="train"), [b"id,split\n1,train\n2,test\n"]


KINDS = {kind.__name__: kind for kind in (array, checkpoint, configuration, counts, split)}


def search(kind: str, folder: Path) -> None:
    """Search in this process, which ends with the search, and with an error at the first find."""
    import atheris

    with atheris.instrument_imports(include=LOOKED_INTO):
        from cerraseg.core.errors import CerraSegError

        read, seeds = KINDS[kind]()

    def attempt(content: bytes) -> None:
        path = folder / "case"
        path.write_bytes(content)
        with suppress(CerraSegError):
            read(path)

    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds):
        (corpus / str(number)).write_bytes(seed)
    limits = (*LIMITS, f"-max_total_time={SECONDS}", f"-artifact_prefix={folder}/find-")
    atheris.Setup([sys.argv[0], *limits, str(corpus)], attempt)
    atheris.Fuzz()


def searched(kind: str) -> bool:
    """Search in a process of its own, say how it ended, and whether that was without a find."""
    folder = Path(tempfile.mkdtemp(prefix=f"cerraseg-{kind}-"))
    command = [sys.executable, __file__, "--one", kind, str(folder)]
    done = subprocess.run(command, text=True, errors="replace", capture_output=True, check=False)
    runs = next((line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line), "no")
    if done.returncode:
        quiet = "\n".join(line for line in done.stderr.splitlines() if not line.startswith(("#", "INFO", "WARNING")))
        print(f"{kind}: {runs} cases; then, with its files in {folder}:\n{done.stdout}\n{quiet}", flush=True)
        return False
    print(f"{kind}: {runs} cases, no find", flush=True)
    shutil.rmtree(folder)
    return True


def main(arguments: Sequence[str]) -> int:
    """Search all kinds of files, or those that are named."""
    if arguments[:1] == ["--one"]:
        search(arguments[1], Path(arguments[2]))
        return 0
    if unknown := set(arguments) - KINDS.keys():
        sys.exit(f"no kind of file: {', '.join(sorted(unknown))}; expected some of {', '.join(KINDS)}")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return int(not all(list(pool.map(searched, arguments or KINDS))))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
