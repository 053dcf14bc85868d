"""`harmonyrt doctor`: what is installed, what it can run, and what to install for the rest."""

from __future__ import annotations

from typing import Annotated, Any

import typer


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure how fast this CPU is in each precision, and keep it.")
    ] = False,
) -> None:
    """Show what is installed, what this machine can run, and what to install for the rest."""
    import dataclasses

    from harmonyrt.cli.abilities import abilities
    from harmonyrt.cli.console import print_json
    from harmonyrt.runtime import cpu_speed
    from harmonyrt.runtime.compiled_cache import CompiledCache, limit_bytes
    from harmonyrt.runtime.machine_report import machine

    found = machine()
    speed = cpu_speed.measured(again=True) if measure else cpu_speed.kept()
    cache = CompiledCache.at(None)
    able = abilities(found, speed)
    if as_json:
        kept = {"folder": str(cache.folder or ""), "bytes": cache.size(), "limit_bytes": limit_bytes()}
        report: dict[str, Any] = {
            "machine": dataclasses.asdict(found),
            "abilities": [dataclasses.asdict(a) for a in able],
        }
        report["cache"] = {**kept, "why_not": cache.why_not()}
        report["cpu_speed"] = None if speed is None else dataclasses.asdict(speed)
        print_json(report)
        return
    for line in [
        *_described(found),
        *_speed(speed),
        _cache(cache, limit_bytes()),
        "",
        *(line for ability in able for line in _ability(ability)),
    ]:
        print(line)


_PRECISIONS = ("fp32", "bf16", "fp16", "int8")


def _described(found: Any) -> list[str]:
    cpu, ours = found.cpu, found.packages["harmonyrt"] or "(not installed)"
    lines = [
        f"system      {found.system}, Python {found.python}, harmonyrt {ours}",
        f"CPU         {cpu.model}, {cpu.cores_granted:g} of {cpu.cores} cores granted",
        f"  features  {', '.join(cpu.features) or 'none that matter here'}",
    ]
    lines += [
        f"GPU         {gpu.name}, compute capability {gpu.capability or 'unknown'}, {gpu.memory}" for gpu in found.cards
    ]
    lines.append(
        f"driver      NVIDIA {found.driver}" if found.driver else "GPU         no NVIDIA GPU or driver was found"
    )
    for name, version in found.packages.items():
        if name != "harmonyrt":
            lines.append(f"package     {name:<18} {version or '-'}")
    if found.providers:
        lines.append(f"  providers of onnxruntime: {', '.join(found.providers)}")
    return lines


def _speed(speed: Any) -> list[str]:
    if speed is None:
        return ["  speed     not measured: harmonyrt doctor --measure"]
    rates = [f"{name} {rate:.0f}" for name in _PRECISIONS if (rate := speed.gflops(name)) is not None]
    return [
        f"  speed     convolutions on one thread, GFLOP/s: {', '.join(rates)}",
        f"            {speed.sentence()}; memory copies at {speed.copy_gb_per_s:.0f} GB/s",
    ]


def _cache(cache: Any, limit: int) -> str:
    reason = cache.why_not()
    state = (
        f"holds {cache.size() / 2**20:.0f} of at most {limit >> 20} MiB" if reason is None else f"not used: {reason}"
    )
    return f"cache       {cache.folder or 'none'}, {state}"


def _ability(ability: Any) -> list[str]:
    mark = "yes" if ability.able else "no "
    lines = [f"{mark}  {ability.what}" + (f": {ability.why}" if ability.why else "")]
    if ability.to_do:
        lines.append(f"     -> {ability.to_do}")
    return lines
