"""The same batches on a Ray cluster of two nodes on this machine, one of which dies."""

import hashlib
import json
import threading
import time
from pathlib import Path

import pytest

from harmonyrt.fleet.results import read_results

from .conftest import write_pairs

ray = pytest.importorskip("ray", reason="needs Ray's environment: make test-fleet")
TESTS = str(Path(__file__).parents[1])  # where the workers find `fakes`
NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster

    patch = pytest.MonkeyPatch()
    for name, value in (("RAY_USAGE_STATS_ENABLED", "0"), ("RAY_worker_niceness", "0"), ("PYTHONPATH", TESTS)):
        patch.setenv(name, value)
    made = Cluster(initialize_head=True, head_node_args=NODE)
    made.add_node(**NODE)
    yield made
    made.shutdown()
    patch.undo()


def hashes(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in Path(folder).glob("*.png")}


def test_two_nodes_write_what_a_folder_run_writes_and_a_node_may_die(cluster, place, run, bundle):
    write_pairs(place, 24, (300, 200))
    assert run("harmonize", "composites", "masks", "-o", "plain", "--bundle", bundle).code == 0
    victim = cluster.add_node(**NODE)
    killed = []

    def kill():
        while len(hashes("out")) < 3:
            time.sleep(0.02)
        cluster.remove_node(victim, allow_graceful=False)
        killed.append(len(hashes("out")))

    Path("out").mkdir()
    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    ended = run("batch", "composites", "masks", "out", "--bundle", bundle, "--ray", cluster.address, "--json")
    thread.join(60)
    assert ended.code == 0, ended.err
    assert killed
    assert killed[0] < 24, "the node died in the middle"
    assert json.loads(ended.out)["harmonized"] == 24
    assert hashes("out") == hashes("plain")
    rows = list(read_results("out"))
    assert sorted(row["id"] for row in rows) == [f"{n:03}.png" for n in range(24)]
    assert {row["id"]: row["output_sha256"] for row in rows} == hashes("plain")
    resumed = run("batch", "composites", "masks", "out", "--bundle", bundle, "--resume", "--workers", 1, "--json")
    assert json.loads(resumed.out)["kept"] == 24


def test_a_bundle_that_other_machines_do_not_see_travels_with_the_job(cluster, place, run, bundle, monkeypatch):
    """The bundle's folder is gone by the time that the workers open it; they have it by its hash."""
    from harmonyrt.fleet import on_ray

    gone = place / "engine"
    gone.mkdir()
    for path in bundle.iterdir():
        (gone / path.name).write_bytes(path.read_bytes())
    made = on_ray.RayPool.start

    def start(pool, worker):
        (gone / "manifest.json").unlink(missing_ok=True)
        return made(pool, worker)

    monkeypatch.setattr(on_ray.RayPool, "start", start)
    ended = run("batch", "composites", "masks", "out", "--bundle", gone, "--ray", cluster.address, "--workers", 1)
    assert ended.code == 0, ended.err
    assert len(hashes("out")) == 6


def test_a_cluster_that_is_not_there_is_one_sentence(place, run, bundle):
    ended = run("batch", "composites", "masks", "out", "--bundle", bundle, "--ray", "127.0.0.1:9")
    assert ended.code == 2
    assert "there is no Ray cluster at 127.0.0.1:9" in ended.err


def test_evaluate_gives_the_same_report_on_ray(cluster, tmp_path, run, bundle, monkeypatch):
    import numpy as np
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for folder in ("composite_images", "masks", "real_images"):
        Path("data", folder).mkdir(parents=True)
    mask = np.zeros((60, 80), np.uint8)
    mask[20:40, 20:50] = 255
    for n in range(6):
        pixels = rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(f"data/real_images/{n}.jpg")
        Image.fromarray(255 - pixels).save(f"data/composite_images/{n}_1_1.jpg")
        Image.fromarray(mask).save(f"data/masks/{n}_1.png")
    more = ("evaluate", "data", "--bundle", bundle, "--split", "all", "--size", 64, "--threads", 1, "--json")
    alone, on_ray = run(*more), run(*more, "--ray", cluster.address)
    assert on_ray.code == alone.code == 0, on_ray.err
    assert json.loads(on_ray.out) == json.loads(alone.out)


def test_the_loop_on_ray_tells_what_kills_from_what_sees_a_death(cluster, tmp_path):
    from fakes.fleet_jobs import NeverOpens, Squares
    from harmonyrt.common import HarmonyError
    from harmonyrt.fleet.loop import MOST_DEATHS, results
    from harmonyrt.fleet.on_ray import RayPool

    job = Squares(deadly=(5,))
    with RayPool(job, cluster.address, 1) as pool:
        assert dict(results(job, iter(range(8)), pool, 8)) == {**{n: n * n for n in range(8)}, 5: -MOST_DEATHS}
    never = NeverOpens("the bundle is gone; build it again")
    with RayPool(never, cluster.address, 1) as pool, pytest.raises(HarmonyError, match="the bundle is gone"):
        list(results(never, iter(range(3)), pool, 3))
