"""Our engines and their peers in interleaved runs: `make bench-peers`.

    python -m harmonyrt.benchmarks.peers --peers-python .venv-peers/bin/python --output build/peers

First it makes what is missing under the output: the golden checkpoint of the published size, our engines (those of
native kernels too, where they are built: `make native`), the plain export and what the peers' tools convert it to.
That takes a while once. Then each run takes some five minutes on two idle cores, and is written as
`peers-SIZE-THREADSt.json`.
"""

from __future__ import annotations

import argparse
import itertools
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from harmonyrt.benchmarks.cases import Case
from harmonyrt.benchmarks.compare import Budget, measure
from harmonyrt.benchmarks.peers.convert import CONVERTERS
from harmonyrt.benchmarks.peers.libraries import PEERS
from harmonyrt.benchmarks.peers.report import report
from harmonyrt.benchmarks.results import Run, finished_run, write
from harmonyrt.common import WorkFailed
from harmonyrt.common.files import make_folder
from harmonyrt.common.program import run_program
from harmonyrt.common.programs import module_command
from harmonyrt.common.progress import say
from harmonyrt.runtime import native

OURS = ("fp32", "bf16", "int8")
PLAIN, NATIVE = "ours", "native"
"""Folders of our engines, without native kernels and with them."""
TORCH = ("eager", "compile", "compile-bf16")
LEFT_OUT = "left-out.txt"
"""In a library's folder: why its converter failed, so that it is not tried in every run."""


def prepare(checkpoint: Path, size: int, output: Path, peers_python: str) -> dict[str, str]:
    """Make the engines and converted networks that are missing.

    Returns:
        Reasons why a library has no network, or an engine of ours is missing, by its name.

    Raises:
        WorkFailed: our own build failed.
    """
    if not checkpoint.is_file():
        _run(module_command("harmonyrt.benchmarks.studies.golden_checkpoint"), str(checkpoint))
    build = [*module_command("harmonyrt.cli.main"), "build", "phnet", "--checkpoint", str(checkpoint)]
    build += ["--sizes", str(size)]
    plain = output / "plain"
    _run(build, "--rewrites", "none", "--precisions", "fp32", "--targets", "onnx", "--output", str(plain))
    # Not every CPU has BF16, and not every network passes every gate: what is built is timed, the rest is named.
    reasons = {}
    for kind, name in ((PLAIN, "HarmonyRT"), (NATIVE, "HarmonyRT native")):
        lacking = native.why_not(native.VERSION, "openvino") if kind == NATIVE else None
        if lacking is not None:
            reasons[name] = lacking
            continue
        more = ["--rewrites", "native"] if kind == NATIVE else []
        _run(build, *more, "--precisions", *OURS, "--targets", "openvino", "--output", str(output / kind), must=False)
        missing = [precision for precision in OURS if not _ours(output, kind, size, precision).is_file()]
        reasons |= {f"{name} {precision}": "its build failed here, see the build's output" for precision in missing}
    onnx = plain / f"phnet-{size}-fp32" / "model.onnx"
    for library, (_, file) in CONVERTERS.items():
        folder = make_folder(_folder(output, library, size))
        if not (folder / file).is_file() and not (folder / LEFT_OUT).is_file():
            say(f"converting for {library}")
            command = module_command("harmonyrt.benchmarks.peers.convert", peers_python)
            options = ["--checkpoint", checkpoint, "--onnx", onnx, "--size", size, "--output", folder]
            done = subprocess.run([*command, library, *map(str, options)], stderr=subprocess.PIPE, text=True)
            if done.returncode != 0:
                said = (done.stderr.strip() or f"its converter ended with code {done.returncode}").splitlines()[-1]
                (folder / LEFT_OUT).write_text(said.removeprefix("error: ") + "\n", encoding="utf-8")
        if (folder / LEFT_OUT).is_file():
            reasons[library] = (folder / LEFT_OUT).read_text(encoding="utf-8").strip()
    return reasons


def cases(
    checkpoint: Path, size: int, threads: int, output: Path, peers_python: str, without: Sequence[str]
) -> list[Case]:
    """Everything that can be timed here; PyTorch eager first, which is the reference of speed and pixels."""
    plain = output / "plain" / f"phnet-{size}-fp32"
    found = [Case("torch", str(checkpoint), size, size, threads=threads, mode=mode) for mode in TORCH]
    kinds = (PLAIN,) if "HarmonyRT native" in without else (PLAIN, NATIVE)
    for kind, precision in itertools.product(kinds, OURS):
        manifest = _ours(output, kind, size, precision)
        if manifest.is_file():
            found.append(Case("engine", str(manifest.parent), size, size, threads=threads))
    for peer in PEERS:
        if peer.library not in without:
            path = (_folder(output, peer.library, size) if peer.apart else plain) / peer.file
            python = peers_python if peer.apart else None
            found.append(Case("peer", str(path), size, size, threads=threads, mode=peer.name, python=python))
    return found


def _ours(output: Path, kind: str, size: int, precision: str) -> Path:
    return output / kind / f"phnet-{size}-{precision}" / "manifest.json"


def _folder(output: Path, library: str, size: int) -> Path:
    return output / "converted" / f"{library}-{size}"


def _run(command: Sequence[str], *more: str, must: bool = True) -> None:
    code = subprocess.run([*command, *more], stdout=sys.stderr).returncode
    if code != 0 and must:
        raise WorkFailed(f"{shlex.join(more[:2])} … ended with code {code}; see above")


def run(arguments: argparse.Namespace) -> None:
    """Prepare, time and report."""
    output = make_folder(arguments.output)
    checkpoint = arguments.checkpoint or output / "golden.pth"
    reasons = prepare(checkpoint, arguments.size, output, arguments.peers_python)
    budget = Budget(rounds=arguments.rounds, seconds=arguments.seconds, burn_in_seconds=arguments.burn_in)
    runs = [
        _timed(
            cases(checkpoint, arguments.size, threads, output, arguments.peers_python, tuple(reasons)), budget, reasons
        )
        for threads in arguments.threads
    ]
    for one in runs:
        write(one, output / f"{one.name}.json")
    print(report(runs))


def _timed(sides: Sequence[Case], budget: Budget, reasons: Mapping[str, str]) -> Run:
    left_out = dict(reasons)
    measured = measure(sides, budget, say, lambda case, why: left_out.update({f"{case.kind} {case.mode}": why}))
    return finished_run(f"peers-{sides[0].height}-{sides[0].threads}t", "make bench-peers", budget, measured, left_out)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peers-python", required=True, help="the interpreter of the environment that has the peers")
    parser.add_argument("--output", type=Path, required=True, help="folder of engines, converted networks and results")
    parser.add_argument("--checkpoint", type=Path, help="default: golden weights of the published size, 39.9 M")
    parser.add_argument("--size", type=int, default=256, help="side of the network's input")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="a run for each")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.6, help="length of one turn")
    parser.add_argument("--burn-in", type=float, default=4, help="seconds after which an unstable burn-in is reported")
    given = parser.parse_args(argv)
    return run_program(lambda: run(given))


if __name__ == "__main__":
    sys.exit(main())
