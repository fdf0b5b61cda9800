"""Released checkpoints are scored on the published test part, or where the published confusion matrix comes out."""

import json

import numpy as np
import pytest
from scenes import NAMES
from test_benchmark import published

from cerraseg.config.scenario import parse
from cerraseg.core.errors import DataError
from cerraseg.data.splits.file_lists import published_test_part
from cerraseg.evaluation.evaluate import check_released

UNET = parse("unet-concat-w-l1-released-0", NAMES)


def write(path, files, test, published):
    lists = [{"name": "all files", "files": files, "test": test, "published": published}]
    path.write_text(json.dumps({"scheme": "paper", "file_lists": lists}))
    return path


@pytest.fixture
def facts(tmp_path):
    """The file of a split by a wrong list."""
    return write(tmp_path / "split.json", 30_291, 3_030, False)


def test_wrong_list_is_refused(facts):
    counts = published("unet_concat_w_l1")
    with pytest.raises(DataError, match=r"all files \(30,291, of which 3,030 test\)"):
        check_released(UNET, np.roll(counts, 1), facts)
    with pytest.raises(DataError, match="unet-msi-w-l1-released-0"):  # of which no matrix was published
        check_released(parse("unet-msi-w-l1-released-0", NAMES), counts, facts)


def test_published_matrix_is_met_up_to_float_error(facts):
    counts = published("unet_concat_w_l1")
    counts[1, :2] += [20_000, -20_000]
    check_released(UNET, counts, facts)
    counts[1, :2] += [60_000, -60_000]
    with pytest.raises(DataError):
        check_released(UNET, counts, facts)


def test_published_test_part_is_scored(facts):
    write(facts, 30_280, 3_028, True)
    check_released(UNET, np.ones((7, 7), int), facts)
    said = "The test part is the published one, patches and pixels by class, drawn from all files."
    assert published_test_part(facts) == (True, said)
