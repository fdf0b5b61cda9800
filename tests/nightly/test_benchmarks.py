"""The benchmarks: each runs, prints its rows, and they come to stand where they belong on the page."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
BENCHMARKS = REPOSITORY / "tests/benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from page import HEADERS, Page  # noqa: E402
from performance import COMMANDS  # noqa: E402

ORDER = [f"bench_{name}.py" for name in COMMANDS]


def test_every_benchmark_is_in_the_table():
    assert sorted(ORDER) == sorted(path.name for path in BENCHMARKS.glob("bench_*.py"))


def rows(path):
    """Command → its rows in the page, without the command."""
    found = {}
    for line in path.read_text().splitlines():
        if match := re.fullmatch(r"(\| .* \|) `(bench_.*)` \|", line):
            found.setdefault(match[2], []).append(match[1])
    return found


def test_a_selection_leaves_all_other_rows(tmp_path):
    page = Page(tmp_path / "page.md", ORDER)
    page.write("performance", "Measured on 2026-01-01 on one.", [("bench_metrics.py 8", ["| a | 1 | 2 | 3 | |"])])
    page.write("performance", "Measured on 2026-01-01 on one.", [("bench_mosaic.py 1", ["| b | 1 | 2 | 3 | |"])])
    page.write("performance", "Measured on 2026-01-02 on two.", [("bench_metrics.py 9", ["| c | 1 | 2 | 3 | |"] * 2)])
    text = page.path.read_text()
    assert rows(page.path) == {
        "bench_metrics.py 9": ["| c | 1 | 2 | 3 | |"] * 2,
        "bench_mosaic.py 1": ["| b | 1 | 2 | 3 | |"],
    }
    assert text.index("on two.") < text.index("bench_metrics.py 9") < text.index("on one.") < text.index("bench_mosaic")
    page.write("performance", "Measured on 2026-01-02 on two.", [("bench_metrics.py 9", ["| c | 1 | 2 | 3 | |"] * 2)])
    assert page.path.read_text() == text


def test_what_cannot_be_measured_here_does_not_hide_what_was_elsewhere(tmp_path):
    page = Page(tmp_path / "page.md", ORDER)
    page.write("performance", "Measured on 2026-01-01 on one.", [("bench_mosaic.py 1", ["| b | 1 | 2 | 3 | |"])])
    text = page.path.read_text()
    missing = ["| b |  | not measured: why | |"]
    page.write("performance", "Measured on 2026-01-02 on two.", [("bench_mosaic.py 1", missing)])
    assert page.path.read_text() == text


def test_the_real_page_has_a_place_for_every_block(tmp_path):
    page = Page(tmp_path / "page.md", ORDER)
    page.path.write_text((REPOSITORY / "docs/performance.md").read_text())
    assert {line.split()[0] for line in rows(page.path)} == set(ORDER)
    for block in HEADERS:
        page.write(block, "Measured on 2000-01-01 on none.", [("bench_mosaic.py 7", ["| x |"])])
    assert page.path.read_text().count("`bench_mosaic.py 7` |") == len(HEADERS)


def pins(name):
    """Package → its versions in a lock; there may be one a Python."""
    found = {}
    for package, version in re.findall(r"^([a-z0-9._-]+)==(\S+)", (REPOSITORY / name).read_text(), re.MULTILINE):
        found.setdefault(package, set()).add(version)
    return found


def test_peers_are_locked_beside_what_users_install():
    locked, peers = pins("requirements.txt"), pins("requirements-peers.txt")
    wanted = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["dependency-groups"]["peers"]
    assert {re.match("[a-z-]+", peer)[0] for peer in wanted} <= peers.keys() - locked.keys()
    shared = peers.keys() & locked.keys()
    assert "torch" in shared
    assert all(peers[name] <= locked[name] for name in shared)
    assert "://" not in (REPOSITORY / "requirements-peers.txt").read_text()


def test_every_benchmark_runs(tmp_path):
    page = tmp_path / "page.md"
    command = [sys.executable, BENCHMARKS / "performance.py", "--tiny", "--output", page]
    done = subprocess.run(
        command, cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]
    assert {line.split()[0] for line in rows(page)} == set(ORDER)
