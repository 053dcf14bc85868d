"""Standard streams that are closed, full, narrow or left: losses are reported, and the work goes on."""

import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
from harmonyrt.common.program import run_program
from harmonyrt.common.streams import current, read_stdin

def work():
{work}

sys.exit(run_program(work))
"""
needs_full = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/dev/full is Linux's")


@pytest.fixture
def ran(tmp_path):
    """Run the lines of `work()` in a separate process, its streams as the shell is told to; `done` shows its end."""

    def run(work: str, streams: str = "", env: dict | None = None):
        lines = "".join(f"    {line}\n" for line in [*work.strip().splitlines(), "open('done', 'w').close()"])
        (tmp_path / "program.py").write_text(PROGRAM.format(work=lines))
        line = f"{sys.executable} program.py {streams}"
        return subprocess.run(["bash", "-c", line], capture_output=True, cwd=tmp_path, env=env)

    run.done = lambda: (tmp_path / "done").exists()
    run.folder = tmp_path
    return run


@needs_full
def test_what_a_full_disk_loses_is_said_when_the_work_is_done(ran):
    done = ran("print('x' * 100_000, flush=True); sys.stdout.flush()", "> /dev/full")
    assert done.returncode == 1
    assert done.stderr.decode().startswith("error: what was printed to stdout is lost (No space left on device)")
    assert len(done.stderr.splitlines()) == 1
    assert ran.done()


@needs_full
def test_chatter_that_cannot_be_written_is_dropped(ran):
    done = ran("for n in range(3): print('chatter', file=sys.stderr, flush=True)\nprint('result')", "2> /dev/full")
    assert (done.returncode, done.stdout) == (0, b"result\n")


def test_who_reads_our_output_may_leave_before_the_end(ran):
    done = ran(
        "print('first', flush=True)\nfor n in range(9999): print('x' * 99)", "| head -n 1; exit ${PIPESTATUS[0]}"
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, b"first\n", b"")
    assert ran.done()


def test_results_that_are_lost_with_a_closed_stdout_are_said(ran):
    done = ran("print('result')", ">&-")
    assert done.returncode == 1
    assert b"it is closed" in done.stderr


def test_a_list_of_written_files_may_be_lost_with_a_closed_stdout(ran):
    assert ran("current().results_are_files()\nprint('out.png')", ">&-").returncode == 0
    assert ran("print(end='')", ">&-").returncode == 0


def test_files_never_take_the_place_of_a_closed_stream(ran):
    """Whatever a library in C prints would be written into them."""
    done = ran("f = open('picture', 'wb'); assert f.fileno() > 2; os.write(1, b'x'); os.write(2, b'x')", "<&- >&- 2>&-")
    assert done.returncode == 0
    assert (ran.folder / "picture").read_bytes() == b""


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-8:strict", "caf\udce9 é … 写\n".encode(errors="surrogateescape")),
        ("latin-1:strict", b"caf\xe9 \xe9 \\u2026 \\u5199\n"),
        ("ascii:strict", b"caf\xe9 \\xe9 \\u2026 \\u5199\n"),
    ],
)
def test_what_an_encoding_lacks_is_escaped(ran, encoding, said):
    done = ran(r"print('caf\udce9 é … 写')", env={"PYTHONIOENCODING": encoding})
    assert (done.returncode, done.stdout) == (0, said)


def test_a_pipe_that_does_not_wait_gets_everything(ran):
    """Node and some terminals leave pipes so."""
    work = "os.set_blocking(1, False)\nsys.stdout.buffer.write(bytes(1 << 20))"
    done = ran(work, "| { sleep 0.3; wc -c; }")
    assert (done.stdout.strip(), done.stderr) == (b"1048576", b"")
    work = "os.set_blocking(0, False)\nprint(len(read_stdin()))"
    assert ran(work, "< <(sleep 0.3; head -c 1000000 /dev/zero)").stdout.strip() == b"1000000"


@pytest.mark.parametrize(
    ("streams", "words"), [("<&-", b"which is closed"), ("0> written", b"stdin cannot be read (Bad file descriptor)")]
)
def test_a_stdin_that_cannot_be_read_is_one_sentence(ran, streams, words):
    done = ran("read_stdin()", streams)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


@needs_full
def test_help_that_is_lost_is_no_success(ran):
    assert ran("print('usage: …')\nraise SystemExit(0)", "> /dev/full").returncode == 1


def test_a_capture_stays_in_place(capsys):
    """A program that calls `main` has put its own stdout there."""
    from harmonyrt.common.program import run_program

    before = sys.stdout
    assert run_program(lambda: print("result")) == 0
    assert sys.stdout is before
    assert capsys.readouterr().out == "result\n"
