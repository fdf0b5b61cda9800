"""A region's tiles side by side in a real one-node SLURM: the maps of a run without it."""

import rasterio
import yaml
from project import TINY, TUNED
from sky import write_sky
from stac_server import StacServer
from test_region_maps import MAPPED, SKY, region_of
from test_slurm import started


def test_tiles_are_fetched_and_mapped_by_jobs_of_slurm(finished, tmp_path):
    sky = write_sky(tmp_path / "sky", **SKY)
    alone, sent = (finished.copy(tmp_path / name) for name in ("alone", "sent"))
    with StacServer(sky.folder) as server, started() as cluster:
        for made in (alone, sent):
            made.configure(TINY | {"regions": [region_of(sky, server)]})
        alone.run(MAPPED)
        file = sent.folder / "profiles/slurm/config.yaml"
        profile = yaml.safe_load(file.read_text()) | {"seconds-between-status-checks": 2, "latency-wait": 10}
        profile["default-resources"] |= {"mem_mb": 2000, "runtime": 5}
        for rule in profile["set-resources"].values():
            rule |= {"mem_mb": 2000, "runtime": 10}
        profile["set-threads"] = {"map_tile": 1}
        file.write_text(yaml.safe_dump(profile))
        sent.where = ("--workflow-profile", "profiles/slurm")
        sent.run(MAPPED, SLURM_CONF=cluster.env["SLURM_CONF"])
    for rule in ("fetch", "map_tile"):
        assert len(list((sent.folder / f"logs/slurm/{rule}").glob("*.log"))) == 3  # a job a tile
    for epsg in (32722, 32723):
        classes = f"results/scenes/border-{epsg}/{TUNED}/map/classes.tif"
        with rasterio.open(alone.folder / classes) as one, rasterio.open(sent.folder / classes) as other:
            assert (one.read(1) != other.read(1)).mean() <= 1e-4  # ties: with other threads, sums have another order
