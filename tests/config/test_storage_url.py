"""Variables in a storage's URL are expanded, and never shown."""

import pytest

from cerraseg.config.storage_url import expanded, storage_of
from cerraseg.core.errors import ConfigError


def test_variables_are_expanded(monkeypatch):
    url = "postgresql://ana:$CERRASEG_SECRET@db/tune"
    with pytest.raises(ConfigError, match=r"tune\.storage: postgresql://ana:\$CERRASEG_SECRET@db/tune"):
        expanded(url)
    monkeypatch.setenv("CERRASEG_SECRET", "s3cret")
    assert expanded(url) == "postgresql://ana:s3cret@db/tune"
    with pytest.raises(ConfigError, match=r"tune\.storage: \$CERRASEG_SECRET"):
        expanded("$CERRASEG_SECRET")


def test_storage_is_a_file_of_the_results_unless_named():
    assert storage_of({"results": "out", "tune": {"storage": ""}}) == "sqlite:///out/tune/study.db"
    assert storage_of({"results": "out", "tune": {"storage": "journal:///a"}}) == "journal:///a"
