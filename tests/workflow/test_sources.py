"""Data from Kaggle and from one's own folders, through the real workflow."""

import json
import os

import pandas as pd
import pytest
from conftest import patch_file
from kaggle_server import serving, zip_of
from project import TINY, Project

TABLE = "results/patches.parquet"


def test_kaggle_download_through_the_workflow(root, tmp_path):
    """The real kagglehub client against a loopback server, then the index over what it unpacked."""
    files = {f"cerradata_4mm/{path.relative_to(root)}": path.read_bytes() for path in sorted(root.rglob("*_42.tif"))}
    settings = {"scenes": [], "source": "kaggle", "kaggle": {"dataset": "a/copy", "version": 3}}
    project = Project(tmp_path / "project", TINY | settings)
    environment = {"KAGGLE_API_ENVIRONMENT": "TEST", "NO_PROXY": "localhost", "HOME": str(tmp_path)}
    assert "source: local" in project.run(TABLE, ok=False, **environment)
    try:
        with serving(zip_of(files), port=7777):
            project.run(TABLE, **environment)
    except OSError as error:
        pytest.skip(f"the client's fixed port 7777 is taken: {error}")
    manifest = json.loads(project.read("results/manifest.json"))
    assert manifest["origin"] == {"dataset": "a/copy", "version": 3}
    assert manifest["source"] == "a/copy"  # only the published data set is called CerraData-4MM
    assert pd.read_parquet(project.folder / TABLE)["id"].tolist() == ["42"]


def test_local_files_that_change_in_place_or_lead_nowhere(root, tmp_path):
    patch_file(root, "sar", "7").unlink()
    patch_file(root, "sar", "7").symlink_to("nowhere.tif")
    settings = {"scenes": [], "source": "local", "roots": [str(root)], "index": {"max_rejected": 0.1}}
    project = Project(tmp_path / "project", TINY | settings)
    project.run(TABLE)
    rejected = pd.read_csv(project.folder / "results/rejected.csv", dtype=str)
    assert rejected["id"].tolist() == ["7"] and rejected["reason"].str.contains("no such file").all()
    assert project.planned(TABLE) == {}
    mask = patch_file(root, "l1", "42")
    os.utime(mask, ns=(0, mask.stat().st_mtime_ns + 1))
    assert project.planned(TABLE).keys() >= {"local", "index"}
