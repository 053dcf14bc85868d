"""`harmonyrt harmonize`: one composite, a folder of them, or a pipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harmonyrt.cli.compose import AT_HELP, PREMULTIPLIED_HELP, SCALE_HELP
from harmonyrt.cli.options import (
    AsJson,
    Backend,
    BundleToRun,
    Device,
    Existing,
    FitMask,
    Format,
    InvertMask,
    KeepPart,
    Label,
    MaxMegapixels,
    Precision,
    Provider,
    Sample,
    Seed,
    Steps,
    Strength,
    Target,
    diffusion_options,
    named,
)


def harmonize(
    composite: Annotated[str, typer.Argument(help="Composite: a picture, a folder of pictures, or - for stdin.")],
    mask: Annotated[
        str | None,
        typer.Argument(help="Mask of the foreground, white: a picture, or a folder with the composites' names."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="Picture to write, a folder for a folder, or - for stdout."),
    ] = None,
    bundle: BundleToRun = None,
    fit_mask: FitMask = False,
    invert_mask: InvertMask = False,
    label: Label = None,
    alpha_mask: Annotated[
        bool, typer.Option("--alpha-mask", help="The composite's alpha is the mask; the output has none.")
    ] = False,
    strength: Strength = 1.0,
    keep: KeepPart = None,
    match: Annotated[
        Path | None, typer.Option("--match", help="Mask of the part of the background to match; the rest is ignored.")
    ] = None,
    layer: Annotated[
        Path | None, typer.Option("--layer", help="Also write the harmonized foreground alone, with the mask as alpha.")
    ] = None,
    lut: Annotated[
        Path | None, typer.Option("--lut", help="Also write the foreground's change as a 3D LUT, .cube.")
    ] = None,
    background: Annotated[
        str | None, typer.Option("--background", help="Paste the composite, a cut-out, on this picture first.")
    ] = None,
    at: Annotated[str | None, typer.Option("--at", help=f"With --background: {AT_HELP}")] = None,
    scale: Annotated[float | None, typer.Option("--scale", help=f"With --background: {SCALE_HELP}")] = None,
    premultiplied: Annotated[
        bool, typer.Option("--premultiplied", help=f"With --background: {PREMULTIPLIED_HELP}")
    ] = False,
    side_by_side: Annotated[
        bool, typer.Option("--side-by-side", help="Write composite, mask and harmonized picture next to each other.")
    ] = False,
    output_format: Annotated[
        Format | None,
        typer.Option("--format", help="Format for stdout (default png) and folders (default: the composite's)."),
    ] = None,
    existing: Annotated[
        Existing, typer.Option(help="Outputs that already exist: replace, skip or refuse them.")
    ] = Existing.replace,
    backend: Backend = "auto",
    device: Device = None,
    target: Target = None,
    precision: Precision = None,
    provider: Provider = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="CPU threads. Default: all cores that this process may use."),
    ] = None,
    seed: Seed = None,
    sample: Sample = None,
    steps: Steps = None,
    max_megapixels: MaxMegapixels = 200.0,
    as_json: AsJson = False,
) -> None:
    """Bring a composite's foreground into line with its background.

    harmonyrt harmonize composite.png mask.png -o harmonized.png

    harmonyrt harmonize composites/ masks/ -o harmonized/

    cat composite.png | harmonyrt harmonize - mask.png > harmonized.png

    harmonyrt harmonize cutout.png --background background.jpg --at 120,40 --scale 0.5 -o harmonized.png
    """
    from harmonyrt.cli.extras import Extras
    from harmonyrt.cli.harmonize_options import STREAM, Options, check_device
    from harmonyrt.cli.harmonizing import run_one
    from harmonyrt.cli.harmonizing_folders import run_folder
    from harmonyrt.common.streams import current as streams
    from harmonyrt.runtime.controls import checked_controls

    check_device(device)
    checked_controls(strength, None)
    options = Options(
        composite=composite,
        mask=mask,
        output=output,
        bundle=bundle,
        fit_mask=fit_mask,
        invert_mask=invert_mask,
        label=tuple(label or ()),
        alpha_mask=alpha_mask,
        side_by_side=side_by_side,
        format=None if output_format is None else f".{output_format.value}",
        existing=existing.value,
        backend=backend,
        device=device,
        target=target,
        precision=precision,
        provider=named(provider),
        threads=threads,
        diffusion=diffusion_options(seed, sample, steps),
        max_megapixels=max_megapixels,
        as_json=as_json,
        strength=strength,
        keep=None if keep is None else keep.value,
        match=match,
        extras=Extras(layer, lut),
        background=background,
        at=at,
        scale=scale,
        premultiplied=premultiplied,
    )
    if not as_json and output != STREAM:
        streams().results_are_files()
    code = run_folder(options) if composite != STREAM and Path(composite).is_dir() else run_one(options)
    if code:
        raise typer.Exit(code)
