"""Audit the locked dependencies for known vulnerabilities by pip-audit; say honestly what was not audited.

pip-audit skips what its advisory database does not answer for, and without a network calls that "no known
vulnerabilities". Called as ``audit.py <requirements> <command of pip-audit>``; ends with 1 if there is a vulnerability.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_LONGEST = 900  # s


def report_of(requirements: str, command: Sequence[str]) -> list[dict[str, Any]] | str:
    """pip-audit's findings, one a dependency; or why there are none."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "report.json")
        how = [
            "-r",
            requirements,
            "--require-hashes",
            "--disable-pip",
            "--progress-spinner=off",
            "-f=json",
            f"-o={file}",
        ]
        try:
            done = subprocess.run([*command, *how], capture_output=True, text=True, timeout=_LONGEST, check=False)
            return list(json.loads(file.read_text())["dependencies"])
        except FileNotFoundError as error:
            said = (
                [line for line in done.stderr.splitlines() if line.strip()]
                if error.filename == str(file)
                else [str(error)]
            )
            return said[-1].strip() if said else f"pip-audit ended with {done.returncode} and no report"
        except (ValueError, KeyError, TypeError):
            return "pip-audit's report cannot be read"
        except subprocess.TimeoutExpired:
            return f"pip-audit did not end within {_LONGEST} s"


def main(requirements: str, *command: str) -> int:
    """Print what was found and what was not looked at; 1 if there is a vulnerability."""
    found = report_of(requirements, command)
    if isinstance(found, str):
        print(f"warning: not audited: {requirements}: {found}")
        return 0
    skipped = [one for one in found if "skip_reason" in one]
    if skipped:
        print(f"warning: not audited: {len(skipped)} of {len(found)} packages, such as {skipped[0]['name']}: "
              f"{skipped[0]['skip_reason']}")  # fmt: skip
    audited = [one for one in found if "skip_reason" not in one]
    vulnerable = [(one, vulnerability) for one in audited for vulnerability in one["vulns"]]
    for one, vulnerability in vulnerable:
        mended = ", ".join(vulnerability["fix_versions"]) or "no version"
        known_as = " ".join([vulnerability["id"], *vulnerability.get("aliases", [])])
        print(f"{one['name']} {one['version']}: {known_as}; mended in {mended}")
    if audited:
        print(f"{requirements}: {len(audited)} packages audited, {len(vulnerable)} known vulnerabilities")
    return int(bool(vulnerable))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
