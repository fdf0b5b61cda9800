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
    "cerraseg/core/errors.py": "class DoorError(Exception):\n    pass\n",
}


@pytest.fixture
def source(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def digest_after(source, tmp_path_factory, file, old, new):
    """The digest after an edit of one file, in a copy, as files are read once a process."""
    copy = tmp_path_factory.mktemp("edited") / "source"
    shutil.copytree(source, copy)
    text = (copy / file).read_text()
    assert old in text
    (copy / file).write_text(text.replace(old, new))
    return package_digest(copy / "script.py", copy)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("cerraseg/wing/door.py", "A door.", "A wooden door."),
        ("cerraseg/wing/door.py", "Open it.", "Open it.\n\n    Args:\n        wide: Degrees.\n    "),
        ("cerraseg/wing/door.py", '    """Open it."""\n', ""),
        ("cerraseg/wing/hinge.py", "return angle * 2", "# twice\n    return (angle\n        * 2)"),
        ("cerraseg/wing/__init__.py", "Wing.", "The wing."),
        ("cerraseg/wing/unused.py", "1", "2"),
        ("cerraseg/core/errors.py", "pass", "code = 1"),
    ],
)
def test_words_layout_and_unreached_code_change_nothing(source, tmp_path_factory, file, old, new):
    assert digest_after(source, tmp_path_factory, file, old, new) == package_digest(source / "script.py", source)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("script.py", "open_it\n", "open_it\n\nopen_it(1)\n"),
        ("cerraseg/wing/hinge.py", "* 2", "* 3"),
        ("cerraseg/wing/hinge.py", "angle * 2", "'angle' * 2"),
        ("cerraseg/wing/__init__.py", '"""Wing."""', "import sys"),
        ("cerraseg/__init__.py", '"""Package."""', "import os"),
    ],
)
def test_reached_code_changes_it(source, tmp_path_factory, file, old, new):
    assert digest_after(source, tmp_path_factory, file, old, new) != package_digest(source / "script.py", source)


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
