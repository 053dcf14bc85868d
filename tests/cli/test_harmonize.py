"""`harmonyrt harmonize` on good input: one pair, a folder, a pipe."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

MASKED = np.s_[10:30, 20:50]


def pixels(path):
    return np.asarray(Image.open(path))


def test_a_pair_changes_inside_its_mask_only(place, bundle, run):
    done = run("harmonize", "composite.png", "mask.png", "-o", "out.png", "--bundle", bundle)
    assert done.code == 0
    assert done.out == "out.png\n"
    before, after = pixels("composite.png"), pixels("out.png")
    outside = pixels("mask.png") == 0
    assert (after[outside] == before[outside]).all()
    assert np.abs(after[MASKED].astype(float) - 0.9 * before[MASKED]).mean() < 12


def test_json_tells_what_was_done(place, bundle, run):
    done = run("harmonize", "composite.png", "mask.png", "-o", "out.png", "--bundle", bundle, "--json")
    report = json.loads(done.out)
    assert report["results"][0]["output"] == "out.png"
    assert report["results"][0]["foreground_ratio"] == pytest.approx(20 * 30 / (48 * 64), abs=1e-6)
    assert report["engine"]


def test_side_by_side_shows_composite_mask_and_result(place, bundle, run):
    run("harmonize", "composite.png", "mask.png", "-o", "out.png", "--bundle", bundle)
    run("harmonize", "composite.png", "mask.png", "-o", "row.png", "--bundle", bundle, "--side-by-side")
    row = pixels("row.png")
    assert (row[:, :64] == pixels("composite.png")).all()
    assert (row[:, 64:128, 0] == pixels("mask.png")).all()
    assert (row[:, 128:] == pixels("out.png")).all()


def test_inverted_and_fitted_masks(place, bundle, run):
    run("harmonize", "composite.png", "mask.png", "-o", "out.png", "--bundle", bundle)
    Image.fromarray(255 - pixels("mask.png")).save("inverted.png")
    run("harmonize", "composite.png", "inverted.png", "-o", "again.png", "--bundle", bundle, "--invert-mask")
    assert (pixels("again.png") == pixels("out.png")).all()
    Image.open("mask.png").resize((32, 24)).save("small.png")
    done = run("harmonize", "composite.png", "small.png", "-o", "fitted.png", "--bundle", bundle, "--fit-mask")
    assert done.code == 0
    assert pixels("fitted.png").shape == (48, 64, 3)


def test_the_alpha_channel_may_be_the_mask(place, bundle, run):
    run("harmonize", "composite.png", "mask.png", "-o", "out.png", "--bundle", bundle)
    Image.fromarray(np.dstack([pixels("composite.png"), pixels("mask.png")])).save("rgba.png")
    done = run("harmonize", "rgba.png", "--alpha-mask", "-o", "again.png", "--bundle", bundle)
    assert done.code == 0
    assert (pixels("again.png") == pixels("out.png")).all()


def test_a_bundle_under_engines_is_found_and_said(place, bundle, run):
    (place / "engines").mkdir()
    (place / "engines" / "phnet-32-fp32").symlink_to(bundle, target_is_directory=True)
    done = run("harmonize", "composite.png", "mask.png", "-o", "out.png")
    assert done.code == 0
    assert "using the bundle engines/phnet-32-fp32" in done.err


def test_what_is_there_is_replaced_skipped_or_refused(place, bundle, run):
    Image.new("RGB", (1, 1)).save("out.png")
    common = ("harmonize", "composite.png", "mask.png", "-o", "out.png", "--bundle", bundle)
    assert run(*common, "--existing", "skip").code == 0
    assert pixels("out.png").shape == (1, 1, 3)
    assert run(*common, "--existing", "refuse").code == 2
    assert pixels("out.png").shape == (1, 1, 3)
    assert run(*common).code == 0
    assert pixels("out.png").shape == (48, 64, 3)


def test_a_folder_is_done_picture_by_picture(folders, bundle, run):
    done = run("harmonize", "composites", "masks", "-o", "out", "--bundle", bundle)
    assert done.code == 0
    assert done.out.split() == ["out/a.png", "out/b.png", "out/c.png"]
    assert "3 harmonized, 0 failed" in done.err


def test_one_bad_pair_does_not_stop_the_others(folders, bundle, run):
    (folders / "composites" / "b.png").write_bytes(b"no picture")
    Image.open("composite.png").save("composites/lonely.png")
    Image.open("mask.png").save("masks/idle.png")
    done = run("harmonize", "composites", "masks", "-o", "out", "--bundle", bundle)
    assert done.code == 2
    assert done.out.split() == ["out/a.png", "out/c.png"]
    assert "error: composites/b.png is not a picture" in done.err
    assert "error: composites/lonely.png has no mask of the same name in masks" in done.err
    assert "no composite goes with the mask masks/idle.png" in done.err
    assert "2 harmonized, 2 failed" in done.err
    assert not list((folders / "out").glob(".*"))


def test_a_folder_reports_in_json(folders, bundle, run):
    (folders / "composites" / "b.png").write_bytes(b"")
    report = json.loads(run("harmonize", "composites", "masks", "-o", "out", "--bundle", bundle, "--json").out)
    assert [result["output"] for result in report["results"]] == ["out/a.png", "out/c.png"]
    assert report["failed"][0]["composite"] == "composites/b.png"


def test_several_composites_may_share_a_mask_as_in_iharmony4(folders, bundle, run):
    for path in (folders / "composites").iterdir():
        path.unlink()
    for name in ("a_1.jpg", "a_2.jpg"):
        Image.open("composite.png").save(folders / "composites" / name)
    done = run("harmonize", "composites", "masks", "-o", "out", "--bundle", bundle, "--format", "png")
    assert done.out.split() == ["out/a_1.png", "out/a_2.png"]


def test_a_folder_goes_on_where_it_stopped(folders, bundle, run):
    common = ("harmonize", "composites", "masks", "-o", "out", "--bundle", bundle)
    run(*common)
    (folders / "out" / "b.png").unlink()
    done = run(*common, "--existing", "skip")
    assert done.out.split() == ["out/b.png"]
    assert "2 skipped because they are there already" in done.err


def test_a_pipe_gives_a_png(place, bundle, run):
    run("harmonize", "composite.png", "mask.png", "-o", "out.png", "--bundle", bundle)
    done = subprocess.run(
        [sys.executable, "-m", "harmonyrt.cli", "harmonize", "-", "mask.png", "--bundle", str(bundle)],
        input=(place / "composite.png").read_bytes(),
        capture_output=True,
        cwd=place,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"\x89PNG")
    (place / "piped.png").write_bytes(done.stdout)
    assert (pixels("piped.png") == pixels("out.png")).all()


def test_notes_say_how_files_were_read(place, bundle, run):
    Image.open("composite.png").convert("CMYK").save("cmyk.tif")
    done = run("harmonize", "cmyk.tif", "mask.png", "-o", "out.png", "--bundle", bundle)
    assert done.code == 0
    assert "note: cmyk.tif is CMYK" in done.err


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals on Windows")
def test_on_a_terminal_there_is_a_bar_and_results_still_go_where_stdout_goes(folders, bundle):
    import pty

    ours, theirs = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "harmonyrt.cli",
        "harmonize",
        "composites",
        "masks",
        "-o",
        "out",
        "-b",
        str(bundle),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, stdin=subprocess.DEVNULL, cwd=folders)
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert done.stdout.decode().split() == ["out/a.png", "out/b.png", "out/c.png"]
    assert "harmonizing" in shown
    assert "3/3" in shown
