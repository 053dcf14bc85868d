"""`harmonyrt verify`: check the parity of an existing bundle."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from harmonyrt.cli.options import Device, Provider, named


def verify(
    bundle: Annotated[
        Path | None,
        typer.Argument(help="Bundle that build wrote. Default: the best one in ./engines."),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Checkpoint that the bundle was built from. Default: the shipped weights."),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads. Default: all.")] = None,
    device: Device = None,
    provider: Provider = None,
    save_outputs: Annotated[
        Path | None,
        typer.Option(
            help="Folder for what the network and each engine answered, as JSON for polygraphy run --load-outputs."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Check a bundle's hashes, and measure its engines against the PyTorch network again.

    Exits with 1 if an engine fails its gate.
    """
    from harmonyrt.cli.bundles import chosen_bundle
    from harmonyrt.cli.console import print_json
    from harmonyrt.common.errors import require
    from harmonyrt.common.progress import say
    from harmonyrt.runtime.bundle import open_bundle

    path, lines = chosen_bundle(bundle)
    open_bundle(path)  # faults of the bundle are reported before what this machine lacks
    require("torch", "build", "harmonyrt verify")
    from harmonyrt.export.phnet.recipe import find_checkpoint
    from harmonyrt.export.phnet.verify import verify_bundle

    keeping = {} if save_outputs is None else {"keep": _keeping(save_outputs)}
    found = find_checkpoint(checkpoint)
    checks = verify_bundle(path, found, threads, **keeping, device=device, provider=named(provider))
    failed = [check for check in checks if check.problem is not None]
    for line in lines:
        say(line)
    if as_json:
        engines = [{**_plain(check), "target": check.engine.target} for check in checks]
        print_json({"bundle": str(path), "passed": not failed, "engines": engines})
    else:
        for check in checks:
            print(described(check))
    if failed:
        raise typer.Exit(1)


def _keeping(folder: Path) -> Any:
    """What writes answers into a folder: `pytorch-fp32.json`, and `TARGET-PRECISION.json` for each engine.

    Raises:
        HarmonyError: Polygraphy is not installed, or the folder cannot be made.
    """
    from harmonyrt.common.errors import require
    from harmonyrt.common.files import make_folder, written_whole
    from harmonyrt.export.polygraphy_kit.folder import EXTRA, save_outputs
    from harmonyrt.export.polygraphy_kit.gate import GOLDEN

    require("polygraphy", EXTRA, "--save-outputs")
    make_folder(folder, "give another folder with --save-outputs")
    names: list[str] = []

    def keep(engine: Any, answers: Any) -> None:
        name = GOLDEN if engine is None else f"{engine.target}-{engine.precision}"
        names.append(name)
        number = "" if names.count(name) == 1 else f"-{names.count(name)}"  # plans for several kinds of GPU
        with written_whole(folder / f"{name}{number}.json") as scratch:
            save_outputs(scratch, name, answers)

    return keep


def _plain(check: Any) -> dict[str, Any]:
    return {
        "precision": check.engine.precision,
        "parity": None if check.parity is None else dataclasses.asdict(check.parity),
        "problem": check.problem,
        "note": check.note,
    }


def described(check: Any) -> str:
    """Describe an :class:`harmonyrt.export.phnet.verify.EngineCheck`."""
    name = check.engine.label
    if check.problem is not None:
        return f"FAILED   {name}: {check.problem}"
    if check.parity is None:
        return f"not run  {name}: {check.note}"
    parity = check.parity
    return (
        f"fine     {name}: max abs error {parity.max_abs_error:.1e}, {parity.psnr_db:.1f} dB"
        f" over {parity.cases} composites (gate: {parity.gate}; {parity.measured_on})"
    )
