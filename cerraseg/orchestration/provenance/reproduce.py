"""Make a result again from the raw source, and compare.

``python -m cerraseg.orchestration.provenance.reproduce <file> [arguments of Snakemake]``
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cerraseg.core.content import content
from cerraseg.core.errors import CerraSegError
from cerraseg.core.layout import SOURCE
from cerraseg.orchestration.provenance.crate import CONFIGURATION
from cerraseg.orchestration.provenance.lineage import Crate, find_result


def make_again(crate: Crate, id_: str, folder: Path, arguments: Sequence[str] = ()) -> Path:
    """Make a result from the raw source in a working folder, by the configuration of its run and today's code.

    Patches, scenes and checkpoints are read where they lie; a simulated landscape is simulated anew. The empty
    ``folder`` is as deep as the present one, so that paths such as ``../data`` stay near it. Returns the path of what
    was made, or raises :class:`CerraSegError` if a job fails.
    """
    config = crate.value(CONFIGURATION)
    simulated = Path(config["simulate"]["folder"]) if config["source"] == "simulate" else Path()
    if simulated.is_absolute() or ".." in simulated.parts:
        raise CerraSegError(f"simulate.folder: {simulated} would be simulated over; expected a folder below this one")
    own = {".snakemake", Path(str(config["results"])).parts[0], *simulated.parts[:1]}
    for name in {*(path.name for path in Path().iterdir()), *config.get("roots", [])} - own:
        if not Path(name).is_absolute():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(Path(name).absolute())
    (folder / ".config.json").write_text(json.dumps(config | {"results": "results"}), encoding="utf-8")
    target = f"results/{id_.rstrip('/')}"
    command: list[str | Path] = [
        *(sys.executable, "-m", "snakemake", "--snakefile", SOURCE / "Snakefile", "--directory", folder),
        *("--configfile", folder / ".config.json", "--workflow-profile", SOURCE / "profiles/default"),
        *("--cores", "all", *arguments, "--", target),
    ]
    if subprocess.run(command, cwd=SOURCE, check=False).returncode:
        raise CerraSegError(f"{target} could not be made again: a job failed, its message stands above")
    return folder / target


def main(path: Path, arguments: Sequence[str]) -> int:
    """Make a file again and compare; return 0 if it comes out identical, else 1."""
    crate, id_ = find_result(path)
    top = Path(tempfile.mkdtemp(prefix="cerraseg-reproduce-"))
    folder = Path(top, *Path.cwd().parts[1:])
    folder.mkdir(parents=True)
    old = content(crate.results / id_)
    new = content(make_again(crate, id_, folder, arguments))
    print(f"{path}: {'identical' if old == new else 'DIFFERS'}: {old.sha256}, made again {new.sha256}")
    if old.sha256 != crate.entities[id_]["sha256"]:
        print("it was changed after it was made: its run left another one")
    if old == new:
        shutil.rmtree(top)
    else:
        print(f"what was made again lies in {folder}")
    return int(old != new)


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
    except CerraSegError as error:
        sys.exit(str(error))
