"""`harmonyrt info`: what is in a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def info(
    bundle: Annotated[
        Path | None,
        typer.Argument(help="Bundle that build wrote. Default: the best one in ./engines."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Show what is in a bundle, after proving its files whole by their hashes."""
    from harmonyrt.cli.bundles import chosen_bundle
    from harmonyrt.cli.console import say
    from harmonyrt.runtime.bundle import open_bundle

    path, lines = chosen_bundle(bundle)
    opened = open_bundle(path)
    for engine in opened.manifest.engines:
        opened.verified_file(engine)
    for line in lines:
        say(line)
    if as_json:
        print(opened.manifest.to_json(), end="")
        return
    for line in described(opened.manifest):
        print(line)


def described(manifest: Any) -> list[str]:
    """Lines about a :class:`harmonyrt.runtime.manifest.Manifest`."""
    model = manifest.model
    weights = "RANDOM WEIGHTS, for timing only" if model.random_weights else f"sha256 {model.checkpoint_sha256[:12]}…"
    if manifest.size is None:
        size = f"any multiple of {manifest.size_multiple} (works at {manifest.working_size})"
    else:
        size = "{} x {}".format(*manifest.size)
    lines = [
        f"bundle      {manifest.name}, schema {manifest.schema}, built {manifest.created}",
        f"model       {model.family}, {model.parameters / 1e6:.2f} M parameters",
        f"checkpoint  {model.checkpoint} ({weights})",
        f"precision   {manifest.precision}",
        f"size        {size}, batch {manifest.batch or 'any'}",
        f"mask        1 = foreground{', taken as 0 or 1' if manifest.binary_mask else ''}",
    ]
    for engine in manifest.engines:
        parity = engine.parity
        nodes = ", ".join(f"{count} in {kind}" for kind, count in engine.census.items())
        lines += [
            "",
            f"engine      {engine.target} {engine.precision}, run by {engine.backend}",
            f"  files     {', '.join(f'{file.path} ({file.bytes / 1e6:.1f} MB)' for file in engine.files)}",
            f"  nodes     {nodes}",
            f"  parity    max abs error {parity.max_abs_error:.1e}, {parity.psnr_db:.1f} dB"
            f" over {parity.cases} composites (gate: {parity.gate}; {parity.measured_on})",
        ]
        if engine.needs:
            lines.append(f"  needs     {', '.join(f'{key} {value}' for key, value in engine.needs.items())}")
        if engine.rewrites:
            lines.append(f"  rewrites  {', '.join(engine.rewrites)}")
    lines += [f"skipped     {s.target} {s.precision}: {s.reason}" for s in manifest.skipped]
    lines += [
        f"measured    {m.backend} ({m.target}), {m.threads} threads: {m.milliseconds:.1f} ms on {m.machine}"
        for m in manifest.measurements
    ]
    return lines
