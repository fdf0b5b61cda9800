"""A dataset description of one's own in the real workflow: what follows from its pixels, and what from its looks."""

import copy

import pytest
from project import TINY, Project
from scenes import CERRADATA

OWN = TINY | {
    "source": "local",
    "roots": "data/simulated/cerradata_4mm",
    "label": "my region",
    "split": {"scheme": "paper"},
    "dataset": CERRADATA.as_dict() | {"name": "my region"},
}
del OWN["simulate"]
DATA = {"local", "index", "split", "pack", "statistics", "distances"}
MODELS = {"train", "adopt", "predict", "curves"}


@pytest.fixture
def own(project: Project) -> Project:
    """The finished run, as if it had been of folders and a description of one's own."""
    project.configure(OWN)
    project.run("--touch", "--forceall")
    assert project.planned() == {}
    return project


def test_names_and_colours_make_no_pixel_and_no_model_anew(own):
    dataset = copy.deepcopy(OWN["dataset"])
    dataset["levels"]["l1"]["classes"][1] |= {"name": "Woods", "colour": "#0a6404"}
    dataset["sensors"]["msi"]["title"] = "Optical"
    own.configure(OWN | {"dataset": dataset})
    planned = own.planned().keys()
    assert planned >= {"truth", "mosaic", "scenario_figures", "map", "describe_map", "benchmark", "overview"}
    assert not planned & (DATA | MODELS)


def test_ids_of_classes_make_everything_anew(own):
    dataset = copy.deepcopy(OWN["dataset"])
    dataset["levels"]["l1"]["classes"][6]["id"] = 16
    dataset["levels"]["l2"]["classes"][12]["parent"] = 16
    own.configure(OWN | {"dataset": dataset})
    assert own.planned().keys() >= DATA | MODELS | {"truth", "mosaic", "map", "benchmark"}
