"""The code digest: what changes it, what does not, and which files it follows."""

import shutil
from pathlib import Path

import pytest

from cerraseg.orchestration.code_digest import imported, package_digest

SOURCE = Path(__file__).parents[2]
FILES = {
    "script.py": "from cerraseg.wing.door import open_it\n",
    "cerraseg/__init__.py": '"""Package."""\n',
    "cerraseg/wing/__init__.py": '"""Wing."""\n',
    "cerraseg/wing/door.py": (
        '"""A door."""\n\n\ndef open_it(wide):\n    """Open it."""\n    import cerraseg.wing.hinge\n\n'
        "    return cerraseg.wing.hinge.turn(wide)\n"
    ),
    "cerraseg/wing/hinge.py": "def turn(angle):\n    return angle * 2\n",
    "cerraseg/wing/unused.py": "VALUE = 1\n",
}


@pytest.fixture
def source(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "old", "new", "same"),
    [
        ("cerraseg/wing/door.py", "A door.", "A wooden door.", True),
        ("cerraseg/wing/door.py", "Open it.", "Open it.\n\n    Args:\n        wide: Degrees.\n    ", True),
        ("cerraseg/wing/door.py", '    """Open it."""\n', "", True),
        ("cerraseg/wing/hinge.py", "return angle * 2", "# twice\n    return (angle\n        * 2)", True),
        ("cerraseg/wing/__init__.py", "Wing.", "The wing.", True),
        ("cerraseg/wing/unused.py", "1", "2", True),
        ("script.py", "open_it\n", "open_it\n\nopen_it(1)\n", False),
        ("cerraseg/wing/hinge.py", "* 2", "* 3", False),
        ("cerraseg/wing/hinge.py", "angle * 2", "'angle' * 2", False),
        ("cerraseg/wing/__init__.py", '"""Wing."""', "import sys", False),
        ("cerraseg/__init__.py", '"""Package."""', "import os", False),
    ],
)
def test_reached_code_changes_it_and_words_and_layout_do_not(source, tmp_path_factory, file, old, new, same):
    copy = shutil.copytree(source, tmp_path_factory.mktemp("edited") / "source")  # as files are read once a process
    text = (copy / file).read_text()
    assert old in text
    (copy / file).write_text(text.replace(old, new))
    digests = [package_digest(folder / "script.py", folder) for folder in (source, copy)]
    assert (digests[0] == digests[1]) == same


def test_plain_imports_within_functions_and_parents_are_followed(source):
    names = {path.relative_to(source).as_posix() for path in imported(source / "cerraseg/wing/door.py", source)}
    assert names == {"cerraseg/__init__.py", "cerraseg/wing/__init__.py", "cerraseg/wing/hinge.py"}


def test_assets_count_byte_by_byte(source):
    (source / "cerraseg/wing/assets").mkdir()
    before = package_digest(source / "script.py", source)
    (source / "cerraseg/wing/assets/sign.html").write_text("<p>Pull</p>")
    assert package_digest(source / "script.py", source) != before


def test_every_step_reaches_the_package():
    for script in (SOURCE / "workflow/scripts").glob("*.py"):
        assert SOURCE / "cerraseg/__init__.py" in imported(script, SOURCE), script
