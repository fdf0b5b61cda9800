"""The site: built as `make site` builds it, without warnings; its links lead somewhere, it asks no network."""

import shlex
import subprocess
import sys
from urllib.parse import unquote, urlsplit

import pytest
import typer
from bs4 import BeautifulSoup
from project import REPOSITORY

import cerraseg
from cerraseg.cli import app


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; a warning or an error in a cell of the notebook fails."""
    recipe = subprocess.run(["make", "-n", "site"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    (line,) = (line for line in recipe.splitlines() if "-m sphinx" in line)
    program, *words, target = shlex.split(line)
    assert (program, target) == (".venv/bin/python", "site")
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, *words, "-d", folder / "trees", folder / "html"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site):
    """Path → parsed page."""
    return {path: BeautifulSoup(path.read_text(), "html.parser") for path in sorted(site.glob("*.html"))}


def test_every_page_is_there(pages):
    names = {path.stem for path in pages}
    assert names >= {path.stem for path in (REPOSITORY / "docs").iterdir() if path.suffix in (".md", ".ipynb")}


def test_links_lead_to_pages_and_places(site, pages):
    ids = {path: {tag["id"] for tag in page.find_all(id=True)} for path, page in pages.items()}
    lost, seen = [], 0
    for path, page in pages.items():
        for tag in page.find_all(["a", "img", "script", "link"]):
            link = urlsplit(tag.get("href") or tag.get("src") or "")
            if link.scheme or (not link.path and not link.fragment):
                continue
            target = path if not link.path else (site / unquote(link.path)).resolve()
            seen += 1
            if not target.exists() or (link.fragment and target in ids and unquote(link.fragment) not in ids[target]):
                lost.append((path.name, link.geturl()))
    assert seen > 500 and not lost


def test_pages_ask_no_network(pages):
    for path, page in pages.items():
        loaded = [tag.get("src") for tag in page.find_all(["script", "img", "iframe"])]
        loaded += [tag.get("href") for tag in page.find_all("link") if tag.get("rel") == ["stylesheet"]]
        assert not [url for url in loaded if url and url.startswith(("http", "//"))], path


def test_reference_has_every_command_and_name(site, pages):
    headings = {tag.get_text().strip("¶") for tag in pages[site / "command.html"].find_all("h2")}
    assert headings == {f"cerraseg {name}" for name in typer.main.get_command(app).commands}
    ids = {tag["id"] for tag in pages[site / "python.html"].find_all(id=True)}
    assert {f"cerraseg.{name}" for name in cerraseg.__all__ if name != "__version__"} <= ids


def test_notebook_ran_to_its_end(site, pages):
    page = pages[site / "model-in-hand.html"]
    text = page.get_text()
    assert "100.00% of the pixels are those of the map" in text and "loss of the first batch" in text
    assert "are not on the scale that the model was trained on" in text and "Traceback" not in text
    assert [tag for tag in page.find_all("img") if tag["src"].endswith(".png")]
