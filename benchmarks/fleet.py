"""What a fleet costs and what it survives: overhead, scaling, deaths of nodes and drivers, the driver's memory.

    python -m harmonyrt.benchmarks.fleet overhead BUNDLE --json FILE     one worker against a plain folder run
    python -m harmonyrt.benchmarks.fleet scaling BUNDLE --json FILE      two Ray nodes of one core against one worker
    python -m harmonyrt.benchmarks.fleet faults BUNDLE --json FILE       ten deaths, and what is there afterwards
    python -m harmonyrt.benchmarks.fleet driver --json FILE              a million rows, workers that only sleep
    python -m harmonyrt.benchmarks.fleet simulation --json FILE          up to 1,000 tasks in flight

The commands are those that people run, in separate processes. Opening and starting are taken out: a time is that of
all pairs less that of the first two. Nodes are those of a Ray cluster on this machine (ray.cluster_utils).
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import platform
import random
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harmonyrt.benchmarks.fleet_simulation import driver, simulation
from harmonyrt.common.files import write_json
from harmonyrt.common.programs import module_command
from harmonyrt.fleet.results import read_results
from harmonyrt.runtime.machine import machine_name

NODE = {"num_cpus": 1, "object_store_memory": 150 << 20, "include_dashboard": False}
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}


def write_pairs(folder: Path, count: int, megapixels: float) -> None:
    """composites/NNNN.jpg and masks/NNNN.png: gradients with grain, an ellipse of a quarter of the picture."""
    height = int((megapixels * 1e6 * 2 / 3) ** 0.5)
    width = height * 3 // 2
    for name in ("composites", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    down, across = np.mgrid[0:height, 0:width].astype(np.float32)
    inside = np.hypot((down / height - 0.5) / 0.28, (across / width - 0.5) / 0.28) < 1
    mask = Image.fromarray(inside.astype(np.uint8) * 255)
    for index in range(count):
        rng = np.random.default_rng(index)
        tints = rng.uniform(60, 200, 3), rng.uniform(-50, 50, 3)
        pixels = tints[0] + tints[1] * (down / height)[..., None] + rng.normal(0, 6, (height, width, 1))
        pixels[inside] += rng.uniform(-40, 40, 3)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(
            folder / "composites" / f"{index:04}.jpg", quality=92
        )
        mask.save(folder / "masks" / f"{index:04}.png")


def harmonyrt(*arguments: object) -> subprocess.Popen:
    """Start a command, in a separate session."""
    return subprocess.Popen(
        [*module_command("harmonyrt.cli"), *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **QUIET},
        start_new_session=True,
    )


def seconds(*arguments: object) -> float:
    """What a command takes; it must go well."""
    started = time.perf_counter()
    code = harmonyrt(*arguments).wait()
    if code:
        raise SystemExit(f"harmonyrt {' '.join(map(str, arguments))} ended with {code}")
    return time.perf_counter() - started


@contextlib.contextmanager
def cluster(nodes: int) -> Iterator[Any]:
    """A Ray cluster of `nodes` nodes of one core each, on 127.0.0.1; the head is one more, without a core."""
    os.environ.update(QUIET)
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0})
    try:
        made.members = [made.add_node(**NODE) for _ in range(nodes)]
        yield made
    finally:
        made.shutdown()


class Place:
    """A folder with pairs, and a second one with the first two: one for each worker, which all have to start."""

    def __init__(self, root: Path, count: int, megapixels: float, bundle: Path) -> None:
        self.root, self.count, self.bundle, self.runs = root, count, bundle, 0
        write_pairs(root / "all", count, megapixels)
        write_pairs(root / "two", 2, megapixels)

    def per_pair(self, command: Callable[[Path, Path], list[object]]) -> float:
        """Seconds of a pair, without what the command takes for two pairs alone."""
        taken = []
        for name in ("two", "all"):
            self.runs += 1
            out = self.root / f"out-{self.runs}"
            taken.append(seconds(*command(self.root / name, out)))
            shutil.rmtree(out)
        return (taken[1] - taken[0]) / (self.count - 2)

    def folder(self, pairs: Path, out: Path) -> list[object]:
        """The plain run."""
        return ["harmonize", pairs / "composites", pairs / "masks", "-o", out, "--bundle", self.bundle, "--threads", 1]

    def batch(self, *more: object) -> Callable[[Path, Path], list[object]]:
        """A batch with these options."""
        return lambda pairs, out: [
            *("batch", pairs / "composites", pairs / "masks", out, "--bundle", self.bundle), *more
        ]  # fmt: skip


def overhead(place: Place, rounds: int) -> dict[str, Any]:
    """One worker, as a process and on Ray, against `harmonize` with one thread; the ways take turns."""
    taken: dict[str, list[float]] = {"harmonize": [], "one process": [], "one Ray worker": []}
    with cluster(1) as made:
        for _ in range(rounds):
            taken["harmonize"].append(place.per_pair(place.folder))
            taken["one process"].append(place.per_pair(place.batch("--workers", 1)))
            taken["one Ray worker"].append(place.per_pair(place.batch("--ray", made.address, "--workers", 1)))
    middle = {name: statistics.median(values) for name, values in taken.items()}
    ratios = {name: round(value / middle["harmonize"] - 1, 4) for name, value in middle.items()}
    return {"seconds_per_pair": taken, "median": middle, "overhead": ratios, "wanted": "at most 0.10"}


def scaling(place: Place, rounds: int) -> dict[str, Any]:
    """Pictures per second of two nodes over those of one worker."""
    taken: dict[str, list[float]] = {"one worker": [], "two nodes": []}
    with cluster(2) as made:
        for _ in range(rounds):
            for name, workers in (("one worker", 1), ("two nodes", 2)):
                taken[name].append(place.per_pair(place.batch("--ray", made.address, "--workers", workers)))
    middle = {name: statistics.median(values) for name, values in taken.items()}
    return {
        "seconds_per_pair": taken,
        "median": middle,
        "times": round(middle["one worker"] / middle["two nodes"], 3),
        "wanted": "at least 1.8",
    }


def hashes(folder: Path) -> dict[str, str]:
    """sha256 of each file directly in a folder."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.is_file()}


def faults(place: Place, rounds: int, seed: int = 0) -> dict[str, Any]:
    """Kill a node or the driver at a random moment, in turns; then resume, with one worker or two."""
    pairs, chance, records = place.root / "all", random.Random(seed), []
    whole = place.root / "whole"
    usual = seconds(*place.folder(pairs, whole))
    wanted = hashes(whole)
    with cluster(2) as made:
        for number in range(rounds):
            out = place.root / f"faulty-{number}"
            victim = "node" if number % 2 == 0 else "driver"
            running = harmonyrt(*place.batch("--ray", made.address)(pairs, out))
            while running.poll() is None and not (out.exists() and any(out.glob("*.jpg"))):
                time.sleep(0.05)
            time.sleep(chance.uniform(0, 0.4 * usual))
            done = len(list(out.glob("*.jpg")))
            if victim == "node":
                made.remove_node(made.members.pop(chance.randrange(2)), allow_graceful=False)
                made.members.append(made.add_node(**NODE))
            elif running.poll() is None:
                os.killpg(running.pid, signal.SIGKILL)
            first_code = running.wait()
            again = place.batch("--ray", made.address, "--resume", "--workers", 1 + number % 2)
            code = harmonyrt(*again(pairs, out)).wait()
            rows = list(read_results(str(out)))
            records.append(
                {
                    "killed": victim,
                    "pictures_done": done,
                    "first_exit_code": first_code,
                    "exit_code": code,
                    "rows": len(rows),
                    "ids": len({row["id"] for row in rows}),
                    "outputs_equal": hashes(out) == wanted,
                    "results_equal": {row["output"]: row["output_sha256"] for row in rows} == wanted,
                    "partial_files": len([p for p in out.rglob("*") if ".partial" in p.name]),
                }
            )
            shutil.rmtree(out)
    fine = {"exit_code": 0, "rows": place.count, "ids": place.count, "outputs_equal": True, "results_equal": True}
    held = all(record[name] == value for record in records for name, value in fine.items())
    return {"rounds": records, "held": held and not any(record["partial_files"] for record in records)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=["overhead", "scaling", "faults", "driver", "simulation"])
    parser.add_argument("bundle", type=Path, nargs="?", help="for the first three")
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--megapixels", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, help="default: 3; 10 deaths")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the driver's list")
    parser.add_argument("--seconds", type=float, default=30, help="of each simulation")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    os.environ.update(QUIET)
    before = os.getloadavg()[0]
    if arguments.what == "driver":
        found = driver(arguments.rows)
    elif arguments.what == "simulation":
        found = simulation(arguments.seconds)
    else:
        if arguments.bundle is None:
            parser.error(f"{arguments.what} needs a bundle")
        with tempfile.TemporaryDirectory(prefix="harmonyrt-fleet-") as folder:
            place = Place(Path(folder), arguments.pairs, arguments.megapixels, arguments.bundle.resolve())
            work = {"overhead": overhead, "scaling": scaling, "faults": faults}[arguments.what]
            found = work(place, arguments.rounds or (10 if arguments.what == "faults" else 3))
            found = {**found, "bundle": arguments.bundle.name, "pairs": arguments.pairs}
            found["megapixels"] = arguments.megapixels
    import ray

    report = {
        "what": f"fleet: {arguments.what}",
        "command": f"python -m harmonyrt.benchmarks.fleet {arguments.what}"
        + (" BUNDLE" if found.get("bundle") else ""),
        "machine": machine_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "date": str(date.today()),
        "load_average": [round(before, 1), round(os.getloadavg()[0], 1)],
        "versions": {"python": platform.python_version(), "ray": ray.__version__},
        **found,
    }
    print(json.dumps(report, indent=1))
    if arguments.json:
        write_json(arguments.json, report)


if __name__ == "__main__":
    main()
