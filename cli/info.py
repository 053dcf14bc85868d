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
    """Show what is in a bundle, after checking its files by their hashes."""
    from harmonyrt.cli.bundles import chosen_bundle
    from harmonyrt.common.progress import say
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
    """Describe a :class:`harmonyrt.runtime.manifest.Manifest`."""
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
        f"precision   {_precisions(manifest)}",
        f"size        {size}, batch {manifest.batch or 'any'}",
        f"mask        1 = foreground{', taken as 0 or 1' if manifest.binary_mask else ''}",
    ]
    if sides := model.config.get("trained_sizes"):
        lines.append(f"trained at  {', '.join(map(str, sides))} px")
    lines += [f"assumed     {sentence}" for sentence in model.config.get("assumed", ())]
    lines += _diffusion(model.config) if model.family == "diffharmony" else []
    lines += [
        f"{part + ' from':19} {file['path']} (sha256 {file['sha256'][:12]}…)"
        for part, files in model.config.get("sources", {}).items()
        for file in files
    ]
    components = model.config.get("components", {})
    for engine in manifest.engines:
        parity = engine.parity
        nodes = ", ".join(f"{count} in {kind}" for kind, count in engine.census.items())
        lines += [
            "",
            f"engine      {_part(engine)}{engine.label}, run by {engine.backend}",
            f"  files     {', '.join(f'{file.path} ({file.bytes / 1e6:.1f} MB)' for file in engine.files)}",
            f"  nodes     {nodes}",
            f"  parity    max abs error {parity.max_abs_error:.1e}, {parity.psnr_db:.1f} dB"
            f" over {parity.cases} composites (gate: {parity.gate}; {parity.measured_on})",
        ]
        if engine.component in components:
            lines.append(
                f"  holds     {components[engine.component]['parameters'] / 1e6:.2f} M values, tables included"
            )
        if engine.needs:
            lines.append(f"  needs     {', '.join(f'{key} {value}' for key, value in engine.needs.items())}")
        if engine.rewrites:
            lines.append(f"  rewrites  {', '.join(engine.rewrites)}")
    lines += [f"skipped     {s.target} {s.precision}: {s.reason}" for s in manifest.skipped]
    lines += [
        f"measured    {m.backend} ({f'{m.target} {m.precision}'.strip()}), {m.threads}"
        f" thread{'s' if m.threads != 1 else ''}:"
        f" {m.milliseconds:.1f} ms on {m.machine}"
        for m in manifest.measurements
    ]
    return lines


def _precisions(manifest: Any) -> str:
    """Of a bundle of several: all of them. Parts of DiffHarmony that fell back are named by their engines."""
    from harmonyrt.runtime.manifest import SCHEMA

    if manifest.schema == SCHEMA:
        return str(manifest.precision)
    return f"{', '.join(manifest.precisions)} (open one with --precision)"


def _part(engine: Any) -> str:
    return "" if engine.component == "network" else f"{engine.component}: "


def _diffusion(config: dict[str, Any]) -> list[str]:
    """What a bundle of several networks does with them, and how far the whole is from PyTorch."""
    loop = config.get("loop", {})
    sizes = ["{} x {}".format(*loop[name]) for name in ("inference_size", "output_size") if name in loop]
    refined = f", refined at {sizes[-1]}" if loop.get("refiner_channels") else ""
    others = sorted(program["steps"] for program in loop.get("programs", []))
    lines = [
        f"stages      {sizes[0] if sizes else '?'}{refined}; {'harmony' if loop.get('conditional') else 'plain'} VAE",
        f"steps       {loop.get('default_steps')} (of {', '.join(map(str, others))}), time steps"
        f" {loop.get('timestep_spacing')}",
    ]
    for target, parity in config.get("parity_of_the_whole", {}).items():
        lines.append(
            f"whole       {target}: max abs error {parity['max_abs_error']:.1e}, {parity['psnr_db']:.1f} dB over"
            f" {parity['cases']} composites (gate: {parity['gate']}; {parity['measured_on']})"
        )
    return lines + [f"fell back   {note}" for note in config.get("fallbacks", [])]
