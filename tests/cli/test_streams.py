"""Every verb on streams that are closed, full or narrow; pipes as inputs and outputs of `harmonize`."""

import json
import os
import stat
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="bash, /dev/full and named pipes")
H = f"{sys.executable} -m harmonyrt.cli"


@pytest.fixture
def shell(place, bundle):
    """Run a line of bash, in which $H is the program and $B the bundle."""

    def run(line: str, **env: str):
        given = {**os.environ, "H": H, "B": str(bundle), **env}
        return subprocess.run(["bash", "-c", line], capture_output=True, cwd=place, env=given, timeout=300)

    return run


def sentence(done) -> str:
    """The error on stderr, which has no stack trace."""
    lines = done.stderr.decode().splitlines()
    assert "Traceback" not in done.stderr.decode()
    assert lines[-1].startswith("error: "), lines
    return lines[-1]


VERBS = {
    "info": "$H info $B",
    "info --json": "$H info $B --json",
    "doctor": "$H doctor",
    "bench --json": "$H bench $B --rounds 1 --seconds 0.01 --json",
    "build --dry-run": "$H build phnet --sizes 64 --dry-run",
    "--help": "$H harmonize --help",
    "harmonize --json": "$H harmonize composite.png mask.png -o out.png -b $B --json",
}
"""Verbs whose result is what they print."""


FAST = ("info", "harmonize --json")
"""Verbs of the fast lane: a process for each case is what these tests cost."""


def case(verb: str, *more: str):
    return pytest.param(verb, *more, marks=() if verb in FAST else pytest.mark.slow)


@pytest.mark.parametrize(("verb", "where"), [*(case(verb, "> /dev/full") for verb in VERBS), ("info", ">&-")])
def test_a_result_that_cannot_be_printed_is_no_success(shell, verb, where):
    if "build" in verb:
        pytest.importorskip("torch")
    done = shell(f"{VERBS[verb]} {where}")
    assert done.returncode == 1
    assert "what was printed to stdout is lost" in sentence(done)


@pytest.mark.parametrize(
    ("verb", "encoding"),
    [
        case("info", "ascii:strict"),
        case("doctor", "ascii:strict"),
        case("--help", "latin-1:strict"),
        case("build --dry-run", "ascii:strict"),
    ],
)
def test_a_narrow_stdout_gets_the_whole_answer(shell, verb, encoding):
    if "build" in verb:
        pytest.importorskip("torch")
    wide, narrow = (shell(VERBS[verb], PYTHONIOENCODING=e, COLUMNS="200") for e in ("utf-8", encoding))
    assert (wide.returncode, narrow.returncode) == (0, 0), narrow.stderr
    assert len(narrow.stdout.splitlines()) == len(wide.stdout.splitlines())
    assert b"Traceback" not in narrow.stderr


def test_a_picture_is_written_whatever_the_streams_are(shell, place):
    done = shell("$H harmonize composite.png mask.png -o out.png -b $B <&- >&- 2>&-")
    assert done.returncode == 0
    assert Image.open("out.png").size == (64, 48)
    done = shell("$H harmonize composite.png mask.png -o full.png -b $B > /dev/full")
    assert done.returncode == 1  # the picture is there, and the list of pictures is not
    assert "stdout is lost" in sentence(done)
    assert Image.open("full.png").size == (64, 48)


@pytest.mark.parametrize(("where", "code"), [("> /dev/full", 1), (">&-", 2)])
def test_a_picture_that_cannot_go_to_stdout_is_no_success(shell, where, code):
    done = shell(f"$H harmonize composite.png mask.png -o - -b $B {where}")
    assert done.returncode == code
    assert "lost" in sentence(done)


@pytest.mark.slow
def test_names_that_stdout_cannot_print_are_printed_as_they_are(shell, folders):
    for folder in ("composites", "masks"):
        os.rename(f"{folder}/b.png", os.fsencode(folder) + b"/caf\xe9.png")
        os.rename(f"{folder}/c.png", f"{folder}/[red]é\n.png")
    for encoding in ("utf-8", "ascii"):
        line = f"$H harmonize composites masks -o {encoding} -b $B"
        done = shell(line, PYTHONIOENCODING=encoding)
        assert done.returncode == 0, done.stderr
        assert len(os.listdir(encoding)) == 3
        assert f"{encoding}/".encode() + b"caf\xe9.png\n" in done.stdout
        done = shell(line + " --json", PYTHONIOENCODING=encoding)
        assert [len(json.loads(done.stdout)["results"])] == [3]


@pytest.mark.slow
def test_a_folder_is_done_whole_when_its_list_cannot_be_printed(shell, folders):
    for number, (where, code) in enumerate((("> /dev/full", 1), (">&-", 0), ("| head -n 1; exit ${PIPESTATUS[0]}", 0))):
        done = shell(f"$H harmonize composites masks -o out{number} -b $B {where}")
        assert done.returncode == code, done.stderr
        assert sorted(os.listdir(f"out{number}")) == ["a.png", "b.png", "c.png"]


@pytest.mark.parametrize(
    "line",
    [
        "$H harmonize <(cat composite.png) mask.png -o out.png -b $B",
        pytest.param("$H harmonize composite.png <(cat mask.png) -o out.png -b $B", marks=pytest.mark.slow),
        "cat composite.png | $H harmonize /dev/stdin mask.png -o out.png -b $B",
        pytest.param(
            "$H harmonize composite.png mask.png -o >(cat > out.png) -b $B; code=$?; sleep 0.3; exit $code",
            marks=pytest.mark.slow,
        ),
        "$H harmonize composite.png mask.png -o /dev/stdout -b $B | cat > out.png; exit ${PIPESTATUS[0]}",
    ],
)
def test_pipes_work_as_files(shell, run, bundle, line):
    run("harmonize", "composite.png", "mask.png", "-o", "expected.png", "--bundle", bundle)
    done = shell(line)
    assert done.returncode == 0, done.stderr
    assert (np.asarray(Image.open("out.png")) == np.asarray(Image.open("expected.png"))).all()


def test_a_named_pipe_as_output_stays_one(shell, place):
    os.mkfifo("pipe.jpg")
    line = "cat pipe.jpg > got.jpg & $H harmonize composite.png mask.png -o pipe.jpg -b $B --existing refuse; wait"
    done = shell(line)
    assert b"error" not in done.stderr
    assert Image.open("got.jpg").format == "JPEG"
    assert stat.S_ISFIFO(os.stat("pipe.jpg").st_mode)


def test_links_and_the_longest_names_as_outputs(run, place, bundle):
    (place / "link.png").symlink_to("target.png")
    for name in ("link.png", "n" * 246 + ".png"):
        assert run("harmonize", "composite.png", "mask.png", "-o", name, "--bundle", bundle).code == 0
    assert (place / "link.png").is_symlink()
    assert Image.open("target.png").size == (64, 48)
    done = run("harmonize", "composite.png", "mask.png", "-o", "n" * 252 + ".png", "--bundle", bundle)
    assert done.code == 2
    assert "File name too long" in done.error


def test_an_empty_pipe_and_a_device_are_one_sentence(shell):
    assert "is empty" in sentence(shell("$H harmonize <(true) mask.png -o out.png -b $B"))
    assert "not a picture" in sentence(shell("$H harmonize /dev/zero mask.png -o out.png -b $B"))
    assert "stdin, which is closed" in sentence(shell("$H harmonize - mask.png -o out.png -b $B <&-"))


def test_a_limit_on_file_sizes_leaves_nothing_half_written(shell, place):
    rng = np.random.default_rng(5)
    for name, shape in (("large.png", (400, 400, 3)), ("large_mask.png", (400, 400))):
        Image.fromarray(rng.integers(60, 250, shape, dtype=np.uint8)).save(name)
    before = sorted(os.listdir())
    done = shell("ulimit -f 100; $H harmonize large.png large_mask.png -o out.png -b $B --backend onnxruntime")
    assert done.returncode == 1
    assert "cannot write out.png: File too large" in sentence(done)
    assert sorted(os.listdir()) == before
