"""Entries of regions: one form whatever their spelling, and faults with their key."""

import pytest
from scenes import CERRADATA

from cerraseg.config.regions import CATALOGUES, check_region, place_of, span_of
from cerraseg.core.errors import ConfigError

ENTRY = {
    "name": "farm", "aoi": [-48.1, -6.1, -47.9, -5.9], "dates": ["2022-06-01", "2022-09-30"],
    "stac": {"msi": {"url": "earth-search"}, "sar": {"url": "https://example.org/v1"}},
}  # fmt: skip


def test_defaults_are_those_of_the_kind_of_sensor():
    region = check_region(ENTRY, CERRADATA)
    msi, sar = region["sensors"].values()
    assert (msi["url"], msi["collection"]) == (CATALOGUES["earth-search"].url, "sentinel-2-l2a")
    assert (msi["kind"], msi["composite"], msi["units"], msi["mask"]["grow"]) == ("optical", "median", "dn_offset", 3)
    assert (sar["kind"], sar["composite"], sar["units"], sar["mask"]) == ("radar", "mean_db", "power", None)
    assert (sar["collection"], region["grid"]) == ("sentinel-1-rtc", {"resolution": 10, "tile_km": 20})
    bare = check_region(ENTRY | {"composite": {"mask": "none", "msi": "least_cloud"}}, CERRADATA)["sensors"]["msi"]
    assert (bare["mask"], bare["composite"]) == (None, "least_cloud")


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"stac": {"lidar": {"url": "cdse"}}}, "regions.farm.stac"),
        ({"stac": {"msi": {"url": "earthsearch"}}}, "earth-search"),
        ({"stac": {"sar": {"url": "earth-search"}}}, "regions.farm.stac.sar.collection"),
        ({"stac": {"msi": {"url": "cdse", "units": "db"}}}, "regions.farm.stac.msi.units"),
        ({"composite": {"sar": "least_cloud"}}, "regions.farm.composite.sar"),
        ({"composite": {"msl": "median"}}, "regions.farm.composite"),
        ({"dates": ["2022-09-30", "2022-06-01"]}, "regions.farm.dates"),
        ({"dates": ["2022-06-31", "2022-09-30"]}, "regions.farm.dates"),
        ({"aoi": [-47.9, -6.1, -48.1, -5.9]}, "regions.farm.aoi"),
        ({"aoi": "none.gpkg"}, "regions.farm.aoi"),
        ({"labels": "fields.gpkg"}, "regions.farm.labels"),
    ],
)
def test_fault_names_its_key(change, key):
    with pytest.raises(ConfigError, match=key):
        check_region(ENTRY | change, CERRADATA)


def test_places_and_dates_of_the_command_line():
    assert place_of("-48.1,-6.1,-47.9,-5.9") == ENTRY["aoi"] and place_of("farm.geojson") == "farm.geojson"
    assert span_of("2022-06/2022-09") == ENTRY["dates"]
    assert span_of("2024-02-03/2024-02") == ["2024-02-03", "2024-02-29"]
    for text in ("2022-06", "2022-13/2022-14", "June/July"):
        with pytest.raises(ConfigError, match="2022-06/2022-09"):
            span_of(text)
