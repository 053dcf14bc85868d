"""What a run writes: JSON with the machine that made it, and the table that people read."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from harmonyrt.benchmarks.cases import Case
from harmonyrt.benchmarks.clocks import clocks
from harmonyrt.benchmarks.compare import Budget, Measured, Ratio
from harmonyrt.benchmarks.timing import TOLERANCE, WINDOW, Summary
from harmonyrt.common import HarmonyError
from harmonyrt.common.files import write_json
from harmonyrt.export.rewrites import DEFAULT, FASTER, KERNELS, REWRITES, SLOWER_THAN_PLAIN, fitting, names_of

SCHEMA = 1
KIND = "harmonyrt-benchmark"
_NAMES = {"budget": "effort", "case": "subject"}
"""Attributes that files of schema 1 call otherwise."""
PAPER_ROWS = (
    ("PHNet 39.9 M, one thread of an Intel H470 machine", "1.01 FPS", "PHNet paper, 5.2"),
    ("PHNet 39.9 M, one V100", "34.49 FPS", "PHNet paper, 5.2; resolution not stated there, 256 px by our reading"),
)
"""What the authors state: other machines, no ratio can be made of them."""


@dataclass(frozen=True)
class Run:
    """One interleaved run.

    Attributes:
        name: what the run is about, for example ``"cpu-fp32-256-1t"``.
        command: what reproduces it.
        made: UTC time.
        machine: CPU, cores granted, features, GPUs, driver, versions.
        budget: rounds and seconds.
        method: burn-in rule, in words.
        measured: the cases' results; the first is the baseline.
        left_out: what could not run here, and why.
    """

    name: str
    command: str
    made: str
    machine: dict[str, Any]
    budget: Budget
    measured: tuple[Measured, ...]
    left_out: dict[str, str] = field(default_factory=dict)
    method: str = f"burn-in until medians of {WINDOW} calls differ by under {TOLERANCE:.0%}; then interleaved rounds"
    schema: int = SCHEMA
    kind: str = KIND


def finished_run(
    name: str, command: str, budget: Budget, measured: Sequence[Measured], left_out: Mapping[str, str] | None = None
) -> Run:
    """A run of this machine, made now."""
    from harmonyrt.runtime.machine_report import machine

    made = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    here = {**json.loads(json.dumps(dataclasses.asdict(machine()))), "clocks": clocks()}
    return Run(name, command, made, here, budget, tuple(measured), dict(left_out or {}))


def write(run: Run, path: str | Path) -> None:
    """Write a run as JSON, whole or not at all."""
    write_json(path, _in_file(dataclasses.asdict(run)))


def read(path: str | Path) -> Run:
    """Read what :func:`write` wrote.

    Raises:
        HarmonyError: not such a file, or of another schema.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HarmonyError(f"{path} cannot be read as a benchmark ({error}); run the benchmark again") from None
    if not isinstance(data, dict) or data.get("kind") != KIND or data.get("schema") != SCHEMA:
        raise HarmonyError(f"{path} is not a benchmark of schema {SCHEMA}; run the benchmark again")
    measured = tuple(_measured(row) for row in data["measured"])
    data["budget"] = Budget(**data.pop(_NAMES["budget"]))
    return Run(**{**data, "measured": measured})


def _in_file(run: dict[str, Any]) -> dict[str, Any]:
    """A run under the names of schema 1, in the order of its attributes."""
    rows = [{_NAMES.get(key, key): value for key, value in row.items()} for row in run["measured"]]
    return {_NAMES.get(key, key): value for key, value in {**run, "measured": rows}.items()}


def _measured(row: dict[str, Any]) -> Measured:
    row = dict(row)
    case = Case(**row.pop(_NAMES["case"]))
    return Measured(
        **{
            **row,
            "case": case,
            "latency": Summary(**row["latency"]),
            "speedup": None if row["speedup"] is None else Ratio(**row["speedup"]),
            "samples": tuple(tuple(turn) for turn in row["samples"]),
        }
    )


HEADINGS = ("what", "ms p50", "p90", "p99", "FPS", "against the first", "dB", "load ms", "first ms", "peak MB")


def rows(run: Run) -> list[tuple[str, ...]]:
    """The table of a run, a row per case under :data:`HEADINGS`."""
    return [
        (
            describe(m),
            f"{m.latency.p50:.1f}",
            f"{m.latency.p90:.1f}",
            f"{m.latency.p99:.1f}",
            f"{m.latency.fps * m.case.batch:.2f}",
            "1" if m.speedup is None else f"{m.speedup.median:.2f}x ({m.speedup.low:.2f}-{m.speedup.high:.2f})",
            "" if m.psnr_to_first_db is None else f"{m.psnr_to_first_db:.1f}",
            f"{m.load_ms:.0f}",
            f"{m.first_call_ms:.0f}",
            "" if m.peak_rss_mb is None else f"{m.peak_rss_mb:.0f}",
        )
        for m in run.measured
    ]


_OWN = {("openvino", "openvino"), ("onnxruntime", "onnx")}
"""(backend, target) pairs that need no target in their name."""


def engine_name(m: Measured) -> str:
    """What ran, for example ``"openvino bf16, low memory"``."""
    about = m.about
    own = (about["backend"], about["target"]) in _OWN
    name = f"{about['backend']}{'' if own else ' ' + about['target']} {about['precision']}"
    rewrites = _rewrites(m) if "rewrites" in about else ""
    return f"{name}, {rewrites}" if rewrites else name


def describe(m: Measured) -> str:
    """One line that says what was timed, for example ``"openvino bf16, 256x256, 1 thread"``."""
    case = m.case
    parts = [engine_name(m)]
    parts.append(f"{case.height}x{case.width}" + (f" batch {case.batch}" if case.batch > 1 else ""))
    if case.threads is not None:
        parts.append(f"{case.threads} thread{'s' if case.threads > 1 else ''}")
    if case.kind == "picture":
        parts.append("end to end")
    if not m.stable:
        parts.append("burn-in not stable")
    return ", ".join(parts)


def _rewrites(m: Measured) -> str:
    """Nothing for an engine with all the faster ones that its kind can have; else what it is called without them."""
    about = m.about
    names = {name for name in about["rewrites"].split() if name in REWRITES}
    if not names:
        return "no rewrites"
    static = any(REWRITES[name].static_only for name in names)
    size = (m.case.height, m.case.width) if static else None
    if set(KERNELS) & names:
        return "native kernels"
    faster = set(fitting(FASTER, size, about["target"], about["precision"]))
    if faster <= names:
        return ""
    if about["precision"] == "bf16" and names == set(names_of(DEFAULT, SLOWER_THAN_PLAIN)):
        return "for AMX"
    return f"with {', '.join(sorted(faster & names))} only" if faster & names else "low memory"


def stages_line(m: Measured) -> str:
    """The parts of a whole call, for example ``"fit 2.1 ms, engine 370.0 ms, carry back 9.0 ms"``."""
    return ", ".join(f"{name.replace('_', ' ')} {value:.1f} ms" for name, value in m.stages.items())


def machine_line(run: Run) -> str:
    """The machine in one line."""
    machine = run.machine
    cpu = machine["cpu"]
    gpus = ", ".join(gpu["name"] for gpu in machine["cards"]) or "no GPU"
    versions = ", ".join(f"{name} {v}" for name, v in machine["packages"].items() if v and name in _NAMED)
    features = f" ({', '.join(cpu['features'])})" if cpu["features"] else ""
    model = f"{cpu['model']}{features}, {cpu['cores_granted']:g} cores granted, {_clock(machine)}"
    return f"{model}, {gpus}; {versions}; {run.made}"


def short_machine_line(run: Run) -> str:
    """The machine in a few words, and the date."""
    cpu, gpus = run.machine["cpu"], run.machine["cards"]
    cores = f"{cpu['cores_granted']:g} cores granted"
    return f"{', '.join([cpu['model'], cores, *(gpu['name'] for gpu in gpus)])}; {run.made}"


def _clock(machine: dict[str, Any]) -> str:
    found = machine.get("clocks", {})
    mhz = f"{found['mhz']:g} MHz" if found.get("mhz") else "clock not readable"
    return f"{mhz}, governor {found.get('governor') or 'not readable'}"


_NAMED = ("onnxruntime", "openvino", "tensorrt", "tensorrt-rtx", "torch")


def markdown(run: Run) -> str:
    """The run as a Markdown section: table, machine and command."""
    table = ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
    table += ["| " + " | ".join(row) + " |" for row in rows(run)]
    stages = [f"{describe(m)}: {stages_line(m)}." for m in run.measured if m.stages]
    stages = [line for stage in stages for line in (stage, "")]
    networks = " and ".join(dict.fromkeys(m.about["model"] for m in run.measured if "model" in m.about))
    lines = [f"Network: {networks}. Machine: {machine_line(run)}.", "", f"`{run.command}`", ""]
    return "\n".join([f"### {run.name}", "", *table, "", *stages, *lines])
