"""`harmonyrt batch` on processes of this machine: what comes out, what is kept, what is done again."""

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harmonyrt.common.programs import module_command
from harmonyrt.fleet.results import parts, read_results


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def by_id(out) -> dict[str, dict]:
    rows = list(read_results(str(out)))
    found = {row["id"]: row for row in rows}
    assert len(found) == len(rows), "one row for each pair"
    return found


def test_a_batch_writes_what_harmonize_writes_and_a_row_for_each(place, run, bundle):
    Path("composites/bad.png").write_bytes(b"no picture")
    Path("masks/bad.png").write_bytes(Path("masks/000.png").read_bytes())
    Path("composites/alone.jpg").write_bytes(Path("composites/000.png").read_bytes())
    ended = run("batch", "composites", "masks", "out", "--bundle", bundle, "--workers", 2)
    assert ended.code == 2, ended.err
    assert ended.out == "out\n"
    assert "6 harmonized, 2 failed" in ended.err
    assert run("harmonize", "composites", "masks", "-o", "plain", "--bundle", bundle).code == 2
    assert hashes(Path("out")) == hashes(Path("plain"))
    rows = by_id("out")
    assert {row["status"] for name, row in rows.items() if name not in ("bad.png", "alone.jpg")} == {"ok"}
    assert "is not a picture" in rows["bad.png"]["sentence"]
    assert "has no mask" in rows["alone.jpg"]["sentence"]
    assert {rows[name]["status"] for name in ("bad.png", "alone.jpg")} == {"bad input"}
    done = rows["000.png"]
    assert done["composite_sha256"] == hashlib.sha256(Path("composites/000.png").read_bytes()).hexdigest()
    assert done["output_sha256"] == hashes(Path("out"))["000.png"]
    assert (done["width"], done["height"]) == (64, 48)
    assert done["harmonize_seconds"] > 0
    assert done["machine"]
    assert done["bundle_sha256"] == hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()


def test_scratch_files_of_killed_workers_go_away(place, run, bundle):
    Path("out/results").mkdir(parents=True)
    for name in ("out/.000.abc.partial.png", "out/results/.part.xyz.partial.parquet", "out/.mine"):
        Path(name).write_bytes(b"half")
    assert run("batch", "composites", "masks", "out", "--bundle", bundle, "--workers", 1, "--limit", 1).code == 0
    assert sorted(path.name for path in Path("out").iterdir()) == [".mine", "000.png", "results"]
    assert len(list(Path("out/results").iterdir())) == 1


def test_strength_and_format_are_those_of_harmonize(place, run, bundle):
    more = ("--bundle", bundle, "--strength", 0.5, "--keep", "hue", "--format", "tif")
    assert run("batch", "composites", "masks", "out", *more, "--workers", 1, "--limit", 2).code == 0
    assert run("harmonize", "composites", "masks", "-o", "plain", *more).code == 0
    assert sorted(hashes(Path("out"))) == ["000.tif", "001.tif"]
    assert hashes(Path("out")).items() <= hashes(Path("plain")).items()


def test_resume_does_only_what_is_to_be_done(place, run, bundle):
    """With another number of workers: what inputs or outputs no longer match, what failed, what is new."""
    Path("composites/003.png").rename("003.png")
    Path("composites/003.png").write_bytes(b"no picture")
    assert run("batch", "composites", "masks", "out", "--bundle", bundle, "--workers", 1).code == 2
    before, times = by_id("out"), {path.name: path.stat().st_mtime_ns for path in Path("out").glob("*.png")}
    Path("003.png").rename("composites/003.png")  # mended
    Path("out/001.png").write_bytes(Path("out/001.png").read_bytes()[:-7])  # damaged
    Path("out/002.png").unlink()  # lost
    Path("composites/004.png").write_bytes(Path("composites/000.png").read_bytes())  # changed
    ended = run("batch", "composites", "masks", "out", "--bundle", bundle, "--workers", 2, "--resume", "--json")
    assert ended.code == 0, ended.err
    summary = json.loads(ended.out)
    assert (summary["harmonized"], summary["kept"]) == (4, 2)
    after = by_id("out")
    assert set(after) == {f"{n:03}.png" for n in range(6)}
    for name in ("000.png", "005.png"):
        assert Path("out", name).stat().st_mtime_ns == times[name]
        assert after[name] == before[name]
    assert {name: row["output_sha256"] for name, row in after.items()} == hashes(Path("out"))
    assert after["001.png"]["output_sha256"] == before["001.png"]["output_sha256"]
    assert after["004.png"]["output_sha256"] == after["000.png"]["output_sha256"]


def test_resume_does_all_again_with_other_settings(place, run, bundle):
    first = ("batch", "composites", "masks", "out", "--bundle", bundle, "--workers", 1)
    assert run(*first).code == 0
    before = hashes(Path("out"))
    ended = run(*first, "--resume", "--strength", 0.5, "--json")
    assert (json.loads(ended.out)["harmonized"], json.loads(ended.out)["kept"]) == (6, 0)
    assert not set(before.values()) & set(hashes(Path("out")).values())
    assert len(by_id("out")) == 6
    again = run(*first, "--resume", "--strength", 0.5, "--max-megapixels", 50, "--json")
    assert json.loads(again.out)["kept"] == 6, "a limit changes no picture"


def test_results_of_an_earlier_run_are_not_overwritten(place, run, bundle):
    first = ("batch", "composites", "masks", "out", "--bundle", bundle, "--workers", 1, "--limit", 1)
    assert run(*first).code == 0
    ended = run(*first)
    assert ended.code == 2
    assert "out holds results of an earlier run; pass --resume" in ended.err


def test_a_table_brings_cutouts_and_its_other_columns(place, run, bundle):
    rng = np.random.default_rng(1)
    cutout = rng.integers(0, 255, (20, 24, 4), dtype=np.uint8)
    cutout[..., 3] = 255
    Image.fromarray(cutout).save("cutout.png")
    with open("pairs.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "composite", "mask", "cutout", "background", "placement", "shop", "price"])
        writer.writerow(["a", "composites/000.png", "masks/000.png", "", "", "", "north", "12.5"])
        writer.writerow(["b", "", "", "cutout.png", "composites/001.png", "8,6,0.5", "south", ""])
        writer.writerow(["c", "", "", "", "", "", "east", "1"])
        writer.writerow(["d", "composites/none.png", "masks/000.png", "", "", "", "", ""])
    assert run("batch", "pairs.csv", "out", "--bundle", bundle, "--workers", 1).code == 2
    rows = by_id("out")
    assert [rows[name]["status"] for name in "abcd"] == ["ok", "ok", "bad input", "bad input"]
    assert (rows["a"]["shop"], rows["a"]["price"], rows["b"]["price"]) == ("north", "12.5", None)
    assert "names neither a composite nor a cut-out" in rows["c"]["sentence"]
    assert "none.png does not exist" in rows["d"]["sentence"]
    more = ("--background", "composites/001.png", "--at", "8,6", "--scale", 0.5, "--bundle", bundle)
    assert run("harmonize", "cutout.png", *more, "-o", "alone.png").code == 0
    assert Path("out", rows["b"]["output"]).read_bytes() == Path("alone.png").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["composites", "--bundle", "B"], "give PAIRS OUT"),
        (["composites", "masks", "composites", "--bundle", "B"], "is an input; choose another"),
        (["composites", "out", "--bundle", "B"], "is no list of pairs"),
        (["composites", "nowhere", "out", "--bundle", "B"], "nowhere is not a folder"),
        (["composites", "masks", "out", "--bundle", "nowhere"], "nowhere does not exist; build it"),
        (["composites", "masks", "https://shop/out", "--bundle", "B"], "takes no files"),
        (["nothing.csv", "out", "--bundle", "B"], "nothing.csv does not exist"),
        (["composites", "masks", "out", "--bundle", "B", "--strength", "7"], "strength"),
        (["composites", "masks", "out", "--bundle", "B", "--gpus-per-worker", "1"], "is for Ray"),
        (["ftp9://x/pairs.csv", "out", "--bundle", "B"], "is not known; give a local path, s3://"),
    ],
)
def test_wrong_usage_is_one_sentence(place, run, bundle, arguments, sentence):
    ended = run("batch", *(bundle if word == "B" else word for word in arguments))
    assert ended.code == 2
    assert sentence in ended.err.splitlines()[-1]
    assert not Path("out").exists()


def test_an_output_never_replaces_its_own_input(place, run, bundle):
    Path("pairs.csv").write_text("composite,mask\ncomposites/000.png,masks/000.png\n")
    before = Path("composites/000.png").read_bytes()
    ended = run("batch", "pairs.csv", "composites", "--bundle", bundle, "--workers", 1)
    assert ended.code == 2
    assert "is an input of its pair" in ended.err
    assert Path("composites/000.png").read_bytes() == before


@pytest.mark.alone
def test_a_driver_that_is_killed_leaves_whole_files_and_resume_ends_the_work(place, run, bundle):
    from .conftest import write_pairs

    write_pairs(place, 20, (500, 400))
    assert run("batch", "composites", "masks", "whole", "--bundle", bundle, "--workers", 2).code == 0
    arguments = ["batch", "composites", "masks", "out", "--bundle", str(bundle), "--workers", "2", "--resume"]
    for wanted in (2, 9):  # killed after some outputs, twice
        process = subprocess.Popen(
            [*module_command("harmonyrt.cli"), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        while len(list(Path("out").glob("*.png"))) < wanted and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert run(*arguments[:-2], 1, "--resume").code == 0
    assert hashes(Path("out")) == hashes(Path("whole"))
    assert {i: r["output_sha256"] for i, r in by_id("out").items()} == hashes(Path("whole"))
    assert len(parts("out")) == len(list(Path("out/results").iterdir()))
    assert not [path for path in Path("out").rglob("*") if ".partial" in path.name]


def test_a_batch_needs_neither_ray_nor_a_store(place, bundle):
    """Without --ray it imports none of them."""
    code = (
        "import sys; from harmonyrt.cli.main import main\n"
        f"assert main(['batch', 'composites', 'masks', 'out', '--bundle', {str(bundle)!r}, '--limit', '1']) == 0\n"
        "assert not {'ray', 'fsspec', 's3fs'} & set(sys.modules), sorted(sys.modules)\n"
    )
    Path("program.py").write_text("if __name__ == '__main__':\n    " + code.replace("\n", "\n    "))
    done = subprocess.run([sys.executable, "program.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_plan_measures_a_sample_and_leaves_nothing(place, run, bundle):
    ended = run("batch", "composites", "masks", "out", "--bundle", bundle, "--workers", 1, "--plan", "--json")
    assert ended.code == 0, ended.err
    plan = json.loads(ended.out)
    assert (plan["pairs"], plan["sampled"], plan["failed"], plan["workers"]) == (6, 6, 0, 1)
    per_pair = sum(plan["seconds"].values())
    assert plan["pictures_per_second_per_worker"] == pytest.approx(1 / per_pair, rel=1e-3)
    assert plan["hours_on_machines"]["8"] == pytest.approx(6 * per_pair / 8 / 3600, abs=1e-6)
    assert plan["bound"] in plan["seconds"]
    assert not Path("out").exists()
    text = run("batch", "composites", "masks", "out", "--bundle", bundle, "--workers", 1, "--plan").out
    assert "pictures per second per worker" in text
    assert len(text.splitlines()) == 7
