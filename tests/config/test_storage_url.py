"""A password in a storage's URL is used and never shown."""

import pytest

from cerraseg.config.storage_url import expanded, masked, storage_of
from cerraseg.core.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///results/tune/study.db", "sqlite:///results/tune/study.db"),
        ("postgresql://ana:s3cret@db.example:5432/tune", "postgresql://***@db.example:5432/tune"),
        ("postgresql+psycopg2://ana:p@ss@db/tune", "postgresql+psycopg2://***@db/tune"),
        ("mysql://db/tune?user=ana&password=s3cret", "mysql://db/tune?***"),
        ("journal:///mnt/share/study.log", "journal:///mnt/share/study.log"),
        ("ana:s3cret@db", "***"),
        ("postgresql://ana:s3[cret@db", "***"),
    ],
)
def test_masked(url, shown):
    assert masked(url) == shown


def test_variables_are_filled_in_late(monkeypatch):
    url = "postgresql://ana:$CERRASEG_SECRET@db/tune"
    with pytest.raises(ConfigError) as caught:
        expanded(url)
    assert str(caught.value).startswith("tune.storage: postgresql://***@db/tune: an environment variable is not set")
    monkeypatch.setenv("CERRASEG_SECRET", "s3cret")
    assert expanded(url) == "postgresql://ana:s3cret@db/tune"
    with pytest.raises(ConfigError, match=r"tune\.storage: study\.db: not a URL; expected one such as sqlite:///"):
        expanded("study.db")


def test_storage_is_a_file_of_the_results_unless_named():
    assert storage_of({"results": "out", "tune": {"storage": ""}}) == "sqlite:///out/tune/study.db"
    assert storage_of({"results": "out", "tune": {"storage": "journal:///a"}}) == "journal:///a"
