"""The values of a trial go where they belong."""

from cerraseg.config.search_space import Change, change, inside


def test_values_are_sorted_by_what_they_change():
    values = {"dice": 0.5, "schedule": "cosine", "batch_size": 8, "weighting": "w", "model.encoder": "resnet18"}
    assert change(values) == Change(
        {"dice": 0.5, "schedule": "cosine"}, {"encoder": "resnet18"}, {"weighting": "w"}, {"batch_size": 8}
    )
    assert change({}) == Change({}, {}, {}, {})


def test_values_inside_a_space():
    space = {"dice": {"low": 0.1, "high": 1.0, "log": True}, "edge": {"low": 0.0, "high": 1.0}, "batch_size": [4, 8]}
    values = {"dice": 0.0, "edge": 0.0, "batch_size": 8, "zscore": True}
    assert inside(space, values) == {"edge": 0.0, "batch_size": 8}
