"""Measure everything about PHNet on a GPU, in under eight minutes: engines, gates, latencies, roofline; JSON out.

    python benchmarks/gpu_suite.py --output runs/my-gpu.json

Builds every engine that the installed flavours of TensorRT can, holds each against its gate on real composites, and
measures sizes 256, 512 and 1024 at batch 1, 4 and 16: device latency from CUDA events, end to end from host arrays to
host arrays, FPS; next to PyTorch (eager FP32, eager FP16, torch.compile max-autotune FP16; channels_last) and ONNX
Runtime's CUDA provider. What is missing is listed with the reason, and the exit code is still 0.

Needs torch and numpy; for engines also onnx, onnxscript and TensorRT. Runs from a checkout that was not installed.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import platform
import subprocess
import sys
import time
import types
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
try:
    importlib.import_module("harmonyrt.benchmarks")
except ImportError:  # a checkout on a bare machine: the rooms are the subpackages
    package = types.ModuleType("harmonyrt")
    package.__path__ = [str(ROOT)]
    sys.modules["harmonyrt"] = package

from harmonyrt.benchmarks import gpu_machine  # noqa: E402
from harmonyrt.benchmarks import gpu_runners as runners  # noqa: E402
from harmonyrt.benchmarks.gpu_roofline import measured_roofs, peak_of, work_of  # noqa: E402
from harmonyrt.common import HarmonyError  # noqa: E402
from harmonyrt.common.files import write_json  # noqa: E402

SIZES = (256, 512, 1024)
BATCHES = (1, 4, 16)
TARGETS = ("tensorrt", "tensorrt-rtx")
SECONDS_TO_BEGIN = {"engine": 40.0, "compile": 60.0, "other": 8.0}
"""What must be left of the budget for a step of this kind to be begun."""
RANDOM_39_9M = "random-39.9m"
_ITEMSIZE = {"fp32": 4, "fp16": 2, "bf16": 2}


@dataclasses.dataclass
class Suite:
    """One run: what is measured, what is skipped, and how much time is left."""

    seconds: float
    report: dict[str, Any]
    begun: float = dataclasses.field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds until the budget is used up."""
        return self.seconds - (time.monotonic() - self.begun)

    def skip(self, what: str, reason: str) -> None:
        """Note what was not done, and why."""
        reason = " ".join(reason.split())[:600]
        self.report["skipped"].append({"what": what, "reason": reason})
        print(f"         skipped {what}: {reason[:200]}", file=sys.stderr, flush=True)

    def run(self, what: str, work: Callable[[], None], kind: str = "other") -> None:
        """Do one step, if there is time for its kind. One that fails is a line of `skipped`, not the end."""
        if self.left < SECONDS_TO_BEGIN[kind]:
            self.skip(what, f"the time budget of {self.seconds:.0f} s was used up")
            return
        print(f"[{self.seconds - self.left:5.0f} s] {what}", file=sys.stderr, flush=True)
        try:
            work()
        except HarmonyError as error:
            self.skip(what, str(error))
        except Exception as error:  # one broken runner must not cost the others
            self.skip(what, f"{type(error).__name__}: {error}")

    def add(self, runner: str, precision: str, size: int, batch: int, measured: dict[str, Any]) -> None:
        """Note a measurement, and how near it comes to the roof that PyTorch reaches on this GPU."""
        latency = measured["latency_ms"]["p50"]
        row = {"runner": runner, "precision": precision, "size": size, "batch": batch, **measured}
        row["fps"] = round(1000 * batch / latency, 2)
        work, roofs = self.report["work"].get(f"{size}x{batch}"), self.report["measured_roofs"]
        if work and roofs:
            compute = work["flop"] / roofs["fp32_tflops" if precision == "fp32" else "fp16_tflops"] / 1e9
            move = (work["elements"] + work["weights"]) * _ITEMSIZE[precision] / roofs["copy_gb_per_s"] / 1e6
            row["roof_ms"], row["share_of_roof"] = round(max(compute, move), 4), round(max(compute, move) / latency, 4)
        row["clocks"] = clocks()
        self.report["measured"].append(row)


def main(argv: list[str] | None = None) -> int:
    """Run the suite; the exit code is 0 whatever the machine lacks."""
    arguments = _parser().parse_args(argv)
    if arguments.child:
        print(json.dumps(runners.compiled_in_child(arguments.checkpoint, *map(int, arguments.child))))
        return 0
    suite = Suite(arguments.seconds, _empty_report(argv))
    try:
        _all_steps(suite, arguments)
    finally:  # also what was measured before an interruption
        suite.report["took_seconds"] = round(time.monotonic() - suite.begun, 1)
        output = Path(arguments.output)
        output.parent.mkdir(parents=True, exist_ok=True)
        write_json(output, suite.report)
    print(_table(suite.report))
    print(f"{len(suite.report['measured'])} measured, {len(suite.report['skipped'])} skipped: {output}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("--output", default="runs/gpu_suite.json", metavar="FILE", help="JSON to write (default: %(default)s)")
    add("--checkpoint", default=None, metavar="PATH", help=f"weights; default: the shipped ones; {RANDOM_39_9M}: the")
    add("--seconds", type=float, default=470, metavar="N", help="time budget (default: %(default)s)")
    add("--sizes", type=int, nargs="+", default=SIZES, metavar="SIDE", help="sides (default: 256 512 1024)")
    add("--batches", type=int, nargs="+", default=BATCHES, metavar="N", help="batches (default: 1 4 16)")
    add("--precisions", nargs="+", default=("fp16", "fp32", "bf16"), metavar="P", help="of engines, in this order")
    add("--child", nargs=2, metavar=("SIZE", "BATCH"), help=argparse.SUPPRESS)
    return parser


def _empty_report(argv: list[str] | None) -> dict[str, Any]:
    return {
        "kind": "harmonyrt-gpu-suite",
        "schema": 1,
        "command": " ".join(["python", "benchmarks/gpu_suite.py", *(sys.argv[1:] if argv is None else argv)]),
        "made": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": machine(),
        "measured_roofs": {},
        "data_sheet": None,
        "work": {},
        "engines": [],
        "measured": [],
        "skipped": [],
    }


def _all_steps(suite: Suite, arguments: argparse.Namespace) -> None:
    """Most informative first, since the budget may end before the rest."""
    gpu = suite.report["machine"]["card"]
    reason = gpu_machine.why_no_gpu()
    if reason is None:
        suite.run("measuring the GPU's roofs", lambda: suite.report["measured_roofs"].update(measured_roofs()))
        peak = peak_of(gpu["name"]) if gpu else None
        suite.report["data_sheet"] = dataclasses.asdict(peak) if peak else None
    found: list[runners.Network] = []
    suite.run("loading the network", lambda: found.append(runners.load_network(arguments.checkpoint)))
    if not found:
        suite.skip("everything", "there is no network to measure")
        return
    network = found[0]
    suite.report["network"] = network.about
    shapes = [(size, batch) for batch in arguments.batches for size in arguments.sizes]  # batch 1 first
    suite.run("counting the network's work", lambda: _count_work(suite, network, shapes))
    first = [shape for shape in shapes if shape[1] == arguments.batches[0]]
    rest = [shape for shape in shapes if shape not in first]
    for some in (first, rest):
        for precision in arguments.precisions:
            for target in TARGETS:
                for size, batch in some:
                    _engine_step(suite, network, target, precision, size, batch)
        for mode in runners.TORCH_MODES:
            for size, batch in some:
                _torch_step(suite, network, mode, size, batch, reason)
        for size, batch in some:
            _onnxruntime_step(suite, network, size, batch)
        for size, batch in some:
            _compile_step(suite, arguments, size, batch, reason)


def _count_work(suite: Suite, network: runners.Network, shapes: list[tuple[int, int]]) -> None:
    for size, batch in shapes:
        suite.report["work"][f"{size}x{batch}"] = dataclasses.asdict(work_of(network.module, size, batch))


def _engine_step(suite: Suite, network: runners.Network, target: str, precision: str, size: int, batch: int) -> None:
    what = f"{target} {precision}, {size} px, batch {batch}"
    refusal = gpu_machine.why_not_on_this_gpu(target)
    if refusal is not None:  # building what cannot be measured would cost the others their time
        suite.skip(what, refusal)
        return

    def work() -> None:
        for engine in runners.engines(network, target, precision, size, batch):
            suite.report["engines"].append(engine.about)
            if engine.session is None:
                suite.skip(f"running {engine.about['file']} ({what})", engine.about["why_not_run"])
                continue
            engine.about["parity"] = engine.gate()
            suite.add(target, precision, size, batch, engine.measure())

    suite.run(what, work, "engine")


def _torch_step(suite: Suite, network: runners.Network, mode: str, size: int, batch: int, reason: str | None) -> None:
    what = f"torch {mode}, {size} px, batch {batch}"
    if reason is not None:
        suite.skip(what, reason)
        return
    precision = "fp32" if mode.endswith("fp32") else "fp16"
    suite.run(
        what, lambda: suite.add(f"torch {mode}", precision, size, batch, runners.torch_mode(network, mode, size, batch))
    )


def _onnxruntime_step(suite: Suite, network: runners.Network, size: int, batch: int) -> None:
    for precision in ("fp16", "fp32"):
        what = f"onnxruntime CUDA {precision}, {size} px, batch {batch}"

        def measured(precision: str = precision) -> None:
            found = runners.onnxruntime_cuda(network, precision, size, batch)
            suite.add("onnxruntime-cuda", precision, size, batch, found)

        suite.run(what, measured)


def _compile_step(suite: Suite, arguments: argparse.Namespace, size: int, batch: int, reason: str | None) -> None:
    """In a separate process, since it cannot be interrupted and may take minutes."""
    what = f"torch compile max-autotune fp16, {size} px, batch {batch}"
    if reason is not None:
        suite.skip(what, reason)
        return

    def work() -> None:
        command = [sys.executable, __file__, "--child", str(size), str(batch)]
        if arguments.checkpoint:
            command += ["--checkpoint", arguments.checkpoint]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=suite.left)
        except subprocess.TimeoutExpired:
            raise HarmonyError("it was still compiling when the time budget was used up") from None
        if done.returncode != 0:
            raise HarmonyError((done.stderr.strip().splitlines() or ["it failed and printed nothing"])[-1])
        suite.add("torch compile-fp16", "fp16", size, batch, json.loads(done.stdout.splitlines()[-1]))

    suite.run(what, work, "compile")


# --- the machine


def machine() -> dict[str, Any]:
    """GPU, driver, clocks and versions."""
    return {
        "card": clocks("name", "driver_version", "compute_cap", "memory.total", "power.limit", "clocks.max.sm"),
        "clocks_at_start": clocks(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu": platform.processor() or platform.machine(),
        "versions": gpu_machine.versions(),
    }


def clocks(*fields: str) -> dict[str, str] | None:
    """What nvidia-smi reports about the first GPU; None without it."""
    fields = fields or ("clocks.sm", "clocks.mem", "temperature.gpu", "power.draw", "clocks_throttle_reasons.active")
    try:
        command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"]
        lines = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return None
    return dict(zip(fields, (value.strip() for value in lines[0].split(",")), strict=False)) if lines else None


def _table(report: dict[str, Any]) -> str:
    lines = [
        f"{'runner':<22}{'prec':<6}{'size':>5}{'batch':>6}{'p50 ms':>9}{'p90':>9}{'p99':>9}{'e2e ms':>9}{'FPS':>9}"
    ]
    for row in report["measured"]:
        latency, whole = row["latency_ms"], row["end_to_end_ms"]
        lines.append(
            f"{row['runner']:<22}{row['precision']:<6}{row['size']:>5}{row['batch']:>6}{latency['p50']:>9.3f}"
            f"{latency['p90']:>9.3f}{latency['p99']:>9.3f}{whole['p50']:>9.3f}{row['fps']:>9.1f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
