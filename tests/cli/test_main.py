"""What all verbs share: help, exit codes, and a machine on which nothing optional is installed."""

import errno
import signal
import subprocess
import sys
import time
import warnings

import pytest

from harmonyrt.cli.console import warnings_as_lines
from harmonyrt.cli.main import BUILD, app, main
from harmonyrt.common import HarmonyError, HarmonyWarning, WorkFailed
from harmonyrt.common.streams import StdoutLeft

VERBS = sorted({command.name for command in app.registered_commands})
OPTIONAL = ("torch", "onnx", "onnxscript", "openvino", "tensorrt", "tensorrt_rtx", "cuda", "diffusers",
            "safetensors", "matplotlib", "psutil", "transformers")  # fmt: skip
WITHOUT_OPTIONAL_PACKAGES = f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {OPTIONAL!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
from harmonyrt.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


ENDED = """
def _ended(verb):
    try:
        return main(["build", "--help"])
    except SystemExit as end:
        return end.code or 0
"""


def bare(*arguments, cwd=None):
    """Run in a process where no optional package can be imported."""
    command = [sys.executable, "-c", WITHOUT_OPTIONAL_PACKAGES, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


def test_the_verbs_are_there():
    assert {"build", "harmonize", "verify", "info", "doctor", "train", "synthesize"} <= set(VERBS)


def test_help_of_every_verb_needs_no_optional_package():
    every = "for verb in sys.argv[1:]: print(verb, _ended(verb))"
    script = WITHOUT_OPTIONAL_PACKAGES.replace("sys.exit(main(sys.argv[1:]))", ENDED + every)
    done = subprocess.run([sys.executable, "-c", script, *VERBS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.lower().count("usage:") == len(VERBS)
    assert [line for line in done.stdout.splitlines() if line in [f"{verb} 0" for verb in VERBS]] == [
        f"{verb} 0" for verb in VERBS
    ]


def test_harmonize_info_and_doctor_need_no_optional_package(place, bundle):
    common = ("--bundle", bundle, "--backend", "onnxruntime")
    done = bare("harmonize", "composite.png", "mask.png", "-o", "out.png", *common, cwd=place)
    assert done.returncode == 0, done.stderr
    assert (place / "out.png").exists()
    assert bare("info", bundle).returncode == 0
    assert bare("doctor").returncode == 0


def test_no_arguments_show_the_help(run):
    done = run()
    assert done.code == 0
    assert "harmonize" in done.out


def test_version(run):
    assert run("--version").out.startswith("harmonyrt ")


def test_wrong_verbs_are_one_sentence(run):
    done = run("harmonise")
    assert done.code == 2
    assert "see harmonyrt --help" in done.error


@pytest.mark.parametrize(
    ("error", "code"),
    [(HarmonyError("bad input; mend it"), 2), (WorkFailed("failed; try again"), 1), (KeyboardInterrupt(), 130),
     (MemoryError(), 1), (StdoutLeft(), 1), (OSError(errno.ENOSPC, "full"), 1),
     (PermissionError(errno.EACCES, "no", "here.png"), 2)],
)  # fmt: skip
def test_exit_codes(monkeypatch, capfd, error, code):
    def fail(arguments):
        raise error

    monkeypatch.setattr("harmonyrt.cli.main._run", fail)
    assert main(["info"]) == code
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == (0 if isinstance(error, KeyboardInterrupt | StdoutLeft) else 1)


def test_a_bug_keeps_its_trace(monkeypatch):
    def fail(arguments):
        raise ZeroDivisionError

    monkeypatch.setattr("harmonyrt.cli.main._run", fail)
    with pytest.raises(ZeroDivisionError):
        main(["info"])


def test_build_gets_its_arguments_untouched(monkeypatch):
    got = []

    class Program:
        @staticmethod
        def main(argv):
            got.append(argv)
            return 0

    monkeypatch.setitem(sys.modules, BUILD, Program)
    assert main(["build", "--sizes", "256", "512", "--", "-x", "--help"]) == 0
    assert got == [["--sizes", "256", "512", "--", "-x", "--help"]]


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals on Windows")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_command_leaves_quietly(place, bundle, number, code):
    """It waits on stdin, which never ends."""
    command = [sys.executable, "-m", "harmonyrt.cli", "harmonize", "-", "mask.png", "-o", "out.png", "-b", str(bundle)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=place,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where the tests run in background
    )
    try:
        for _ in range(600):  # until it has begun to read: the handlers stand by then
            time.sleep(0.05)
            with open(f"/proc/{process.pid}/wchan") if sys.platform == "linux" else open("/dev/null") as wait:
                if "pipe" in wait.read():
                    break
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code
    assert errors == b""
    assert sorted(path.name for path in place.iterdir()) == ["composite.png", "mask.png"]


def test_who_reads_our_output_may_leave(bundle):
    command = f"{sys.executable} -m harmonyrt.cli info {bundle} --json | head -c 10"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stderr == ""


def test_the_projects_warnings_are_lines(capsys):
    with warnings_as_lines():
        for _ in range(2):
            warnings.warn("the first thing", HarmonyWarning, stacklevel=1)
    assert capsys.readouterr().err == "warning: the first thing\n" * 2
