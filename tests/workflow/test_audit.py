"""The audit of dependencies: what is found fails, what was not looked at is said."""

import json
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from loopback import listening

REPOSITORY = Path(__file__).parents[2]
GOOD = {"name": "good", "version": "1", "vulns": []}
BAD = {"name": "bad", "version": "2.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"], "aliases": ["CVE-2"]}]}
SKIPPED = {"name": "unseen", "skip_reason": "Dependency not found on PyPI and could not be audited: unseen (1)"}


def audit(*command):
    done = subprocess.run(
        [sys.executable, REPOSITORY / ".ci/audit.py", *command],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr
    return done.returncode, done.stdout


def stand_in(folder, report, code=0, said=""):
    """A program that leaves a report as pip-audit does, and what it was asked in ``asked``."""
    program = folder / "pip_audit.py"
    program.write_text(
        f"import sys\nopen({str(folder / 'asked')!r}, 'w').write(' '.join(sys.argv[1:]))\n"
        f"report = {report!r}\nif report: open(sys.argv[-1].removeprefix('-o='), 'w').write(report)\n"
        f"print({said!r}, file=sys.stderr)\nsys.exit({code})\n"
    )
    return sys.executable, str(program)


@pytest.mark.parametrize(
    ("dependencies", "code", "said"),
    [
        ([GOOD], 0, ["lock.txt: 1 packages audited, 0 known vulnerabilities"]),
        (
            [GOOD, BAD],
            1,
            ["bad 2.0: PYSEC-1 CVE-2; mended in 2.1", "lock.txt: 2 packages audited, 1 known vulnerabilities"],
        ),
        ([SKIPPED], 0, [f"warning: not audited: 1 of 1 packages, such as unseen: {SKIPPED['skip_reason']}"]),
        (
            [SKIPPED, GOOD],
            0,
            [
                f"warning: not audited: 1 of 2 packages, such as unseen: {SKIPPED['skip_reason']}",
                "lock.txt: 1 packages audited, 0 known vulnerabilities",
            ],
        ),
    ],
    ids=["good", "bad", "skipped", "partly"],
)
def test_findings(tmp_path, dependencies, code, said):
    program = stand_in(tmp_path, json.dumps({"dependencies": dependencies, "fixes": []}), code)
    assert audit("lock.txt", *program) == (code, "".join(f"{line}\n" for line in said))
    asked = (tmp_path / "asked").read_text()
    assert asked.startswith("-r lock.txt --require-hashes --disable-pip")


@pytest.mark.parametrize("report", ["", "{", "{}", "[]"])
def test_no_report_is_no_all_clear(tmp_path, report):
    code, said = audit("lock.txt", *stand_in(tmp_path, report, 1, "error: no route to the index"))
    assert code == 0 and said.startswith("warning: not audited: lock.txt: ") and said.count("\n") == 1
    assert report or "no route to the index" in said
    assert audit("lock.txt", "no-such-program")[1].startswith("warning: not audited: lock.txt: ")


@dataclass
class Advisories:
    """An advisory database that knows a fault of one package."""

    asked: list[str] = field(default_factory=list)
    url: str = ""
    released: threading.Event = field(default_factory=threading.Event)


class _Osv(BaseHTTPRequestHandler):
    stand_in: Advisories

    def log_message(self, format, *args):
        pass

    def do_POST(self):
        package = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]["name"]
        self.stand_in.asked.append(package)
        ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99"}]}]
        affected = [{"package": {"name": package, "ecosystem": "PyPI"}, "ranges": ranges, "versions": ["6.0.2"]}]
        fault = {"id": "PYSEC-0", "summary": "a fault", "affected": affected, "modified": "2026-01-01T00:00:00Z"}
        fault |= {"published": "2026-01-01T00:00:00Z", "schema_version": "1.4.0"}
        body = json.dumps({"vulns": [fault]} if package == "pyyaml" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.mark.drill
def test_the_real_program_finds_what_a_database_knows(tmp_path):
    version = re.search(r"^AUDIT_VERSION := (.*)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)[1]
    uv = shutil.which("uv", path=Path(sys.executable).parent)
    program = [uv or "uv", "tool", "run", f"pip-audit=={version}"]
    try:
        subprocess.run([*program, "--version"], check=True, capture_output=True, timeout=300)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("pip-audit cannot be had from the package index")
    lock = tmp_path / "lock.txt"
    digest = "sha256:" + "0" * 64
    lock.write_text(f"pyyaml==6.0.2 --hash={digest}\nnumpy==2.0.0 --hash={digest}\n")
    with listening(server := Advisories(), _Osv):
        code, said = audit(str(lock), *program, "-s", "osv", "--osv-url", server.url)
    assert (code, sorted(server.asked)) == (1, ["numpy", "pyyaml"])
    assert said.startswith("pyyaml 6.0.2: PYSEC-0") and "2 packages audited, 1 known vulnerabilities" in said
    code, said = audit(str(lock), *program, "-s", "osv", "--osv-url", "http://127.0.0.1:9")
    assert code == 0 and "warning: not audited" in said and "0 known" not in said
