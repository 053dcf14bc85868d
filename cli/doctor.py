"""`harmonyrt doctor`: what is installed, what it can run, and what to install for the rest."""

from __future__ import annotations

from typing import Annotated, Any

import typer


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False) -> None:
    """Show what is installed, what this machine can run, and what to install for the rest."""
    import dataclasses

    from harmonyrt.cli.abilities import abilities
    from harmonyrt.cli.console import print_json
    from harmonyrt.runtime.machine_report import machine

    found = machine()
    able = abilities(found)
    if as_json:
        print_json({"machine": dataclasses.asdict(found), "abilities": [dataclasses.asdict(a) for a in able]})
        return
    for line in [*_described(found), "", *(line for ability in able for line in _ability(ability))]:
        print(line)


def _described(found: Any) -> list[str]:
    cpu, ours = found.cpu, found.packages["harmonyrt"] or "(not installed)"
    lines = [
        f"system      {found.system}, Python {found.python}, harmonyrt {ours}",
        f"CPU         {cpu.model}, {cpu.cores_granted:g} of {cpu.cores} cores granted",
        f"  features  {', '.join(cpu.features) or 'none that matter here'}",
    ]
    lines += [
        f"card        {card.name}, compute capability {card.capability or 'unknown'}, {card.memory}"
        for card in found.cards
    ]
    lines.append(
        f"driver      NVIDIA {found.driver}" if found.driver else "card        no NVIDIA card or driver was found"
    )
    for name, version in found.packages.items():
        if name != "harmonyrt":
            lines.append(f"package     {name:<18} {version or '-'}")
    if found.providers:
        lines.append(f"  providers of onnxruntime: {', '.join(found.providers)}")
    return lines


def _ability(ability: Any) -> list[str]:
    mark = "yes" if ability.able else "no "
    lines = [f"{mark}  {ability.what}" + (f": {ability.why}" if ability.why else "")]
    if ability.to_do:
        lines.append(f"     -> {ability.to_do}")
    return lines
