"""Keep what Snakemake and DVC remember of a run the same: ``python -m cerraseg.orchestration.dvc_sync --help``."""

import argparse
import logging
import sys

from cerraseg.core.errors import CerraSegError
from cerraseg.core.logs import log
from cerraseg.orchestration.dvc_sync import commands

COMMANDS = {
    "record": "commit what Snakemake calls up to date to dvc.lock and the cache",
    "restore": "after git checkout and dvc checkout, or dvc pull: tell Snakemake that these files are right",
    "repro": "run what DVC calls stale, side by side; further arguments go to Snakemake",
    "check": "hold dvc.yaml to the rules",
}


def main() -> int:
    """Run the command that the command line names; 0, or 1 with a message."""
    parser = argparse.ArgumentParser(prog="python -m cerraseg.orchestration.dvc_sync", description=__doc__)
    chosen = parser.add_subparsers(dest="command", required=True)
    for name, text in COMMANDS.items():
        chosen.add_parser(name, help=text, description=text)
    known, further = parser.parse_known_args()
    if further and known.command != "repro":
        parser.error(f"{known.command} takes no further arguments: {' '.join(further)}")
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    try:
        getattr(commands, known.command)(*([further] if further else []))
    except CerraSegError as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
