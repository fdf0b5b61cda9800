"""The guided search begins with files that its readers take or refuse in words, without a look inside."""

from contextlib import suppress

import pytest
from guided import KINDS

from cerraseg.core.errors import CerraSegError


@pytest.mark.parametrize("kind", KINDS)
def test_files_to_begin_with(kind, tmp_path):
    read, seeds = KINDS[kind]()
    assert seeds
    for seed in seeds:
        (tmp_path / "case").write_bytes(seed)
        with suppress(CerraSegError):
            read(tmp_path / "case")
