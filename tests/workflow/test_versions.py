"""The commit of the source tree."""

import subprocess

from cerraseg.core.versions import commit


def test_the_commit_of_a_repository(tmp_path, monkeypatch):
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):  # set where a Git hook runs the tests
        monkeypatch.delenv(name, raising=False)

    def git(*words):
        author = ("-c", "user.name=x", "-c", "user.email=x@x", "-c", "commit.gpgsign=false")
        done = subprocess.run(["git", "-C", tmp_path, *author, *words], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    assert commit(tmp_path) == "unknown"
    git("init", "-q")
    assert commit(tmp_path) == "unknown"
    (tmp_path / "Snakefile").write_text("rule all:\n")
    git("add", "Snakefile")
    git("commit", "-qm", "first")
    assert commit(tmp_path) == f"`{git('rev-parse', 'HEAD')}`"
    (tmp_path / "Snakefile").write_text("rule some:\n")
    assert commit(tmp_path) == f"`{git('rev-parse', 'HEAD')}` with uncommitted changes"
    (tmp_path / "inner").mkdir()
    assert commit(tmp_path / "inner") == "unknown"
