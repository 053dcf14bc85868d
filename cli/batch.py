"""`harmonyrt batch`: any number of pairs, on all cores of a machine or of a Ray cluster, from and to object stores."""

from __future__ import annotations

from typing import Annotated

import typer

from harmonyrt.cli.options import (
    AsJson,
    Backend,
    Device,
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


def batch(
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="PAIRS... OUT",
            help="A folder of composites and one of masks, or a table (.csv, .parquet), or WebDataset shards (.tar);"
            " then the folder for the outputs. Each may be s3://, gs://, or (to read) https://.",
        ),
    ],
    bundle: Annotated[
        str | None, typer.Option("--bundle", "-b", help="Bundle that build wrote, a folder or a prefix of a store.")
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option("--ray", help="Address of a Ray cluster (auto, HOST:PORT), or local. Default: plain processes."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Default: as many as there are cores (or GPUs) for.")
    ] = None,
    cpus_per_worker: Annotated[int, typer.Option("--cpus-per-worker", min=1, help="Cores of each worker.")] = 1,
    gpus_per_worker: Annotated[
        float, typer.Option("--gpus-per-worker", min=0, help="GPUs of each worker, on Ray. 0.5 shares one.")
    ] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on after an earlier run; what it did is checked by hashes.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first pairs.")] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Measure 50 pairs and say how long the rest would take.")
    ] = False,
    strength: Strength = 1.0,
    keep: KeepPart = None,
    fit_mask: FitMask = False,
    invert_mask: InvertMask = False,
    label: Label = None,
    output_format: Annotated[
        Format | None, typer.Option("--format", help="Format of all outputs. Default: the composite's.")
    ] = None,
    backend: Backend = "auto",
    device: Device = None,
    target: Target = None,
    precision: Precision = None,
    provider: Provider = None,
    seed: Seed = None,
    sample: Sample = None,
    steps: Steps = None,
    max_megapixels: MaxMegapixels = 200.0,
    megapixels_in_flight: Annotated[
        float | None,
        typer.Option(min=0.000001, help="Decoded at once on a machine. Default: what half of its memory holds."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Harmonize any number of pairs, once each, whatever dies meanwhile.

    harmonyrt batch composites/ masks/ out/ --bundle engines/phnet-512-fp32

    harmonyrt batch s3://shop/pairs.parquet s3://shop/harmonized --bundle s3://shop/engine --ray auto --resume

    harmonyrt batch pairs.csv out/ --bundle engines/phnet-512-fp32 --plan
    """
    from harmonyrt.cli.bundles import chosen_bundle
    from harmonyrt.cli.console import print_json
    from harmonyrt.cli.harmonize_options import check_device
    from harmonyrt.common import HarmonyError
    from harmonyrt.common.progress import progress, say
    from harmonyrt.fleet.batch import Batch, Crew, as_plain, run_batch
    from harmonyrt.fleet.stores import without_secrets
    from harmonyrt.fleet.work import Engine, Settings
    from harmonyrt.runtime.controls import checked_controls
    from harmonyrt.runtime.images.inputs import Reading

    if not 2 <= len(places) <= 3:
        raise HarmonyError(f"{len(places)} places were given; give PAIRS OUT, or COMPOSITES MASKS OUT")
    check_device(device)
    checked_controls(strength, None)
    if bundle is None:
        chosen, lines = chosen_bundle(None)
        bundle = str(chosen)
        for line in lines:
            say(line)
    reading = Reading(fit_mask, invert_mask, tuple(label or ()) or None, max_megapixels)
    whole = Batch(
        places[:-1],
        places[-1],
        bundle,
        Crew(ray, workers, cpus_per_worker, gpus_per_worker),
        Settings(reading, strength, None if keep is None else keep.value, diffusion_options(seed, sample, steps)),
        Engine(backend, device, target, cpus_per_worker, precision, named(provider)),
        None if output_format is None else f".{output_format.value}",
        resume,
        limit,
        megapixels_in_flight,
    )
    if plan:
        from harmonyrt.fleet.plan import as_text, measured_plan

        found = measured_plan(whole, lambda total: progress(total, "measuring"))
        if as_json:
            print_json(found.as_plain())
        else:
            print(as_text(found))
        return
    summary = run_batch(whole, lambda total: progress(total, "harmonizing"), say)
    for sentence in summary.sentences:
        say(f"error: {sentence}")
    if as_json:
        print_json(as_plain(summary))
    else:
        print(without_secrets(places[-1]))
    failures = summary.failed + summary.bad_input
    more = failures - len(summary.sentences)
    if more:
        say(f"error: {more} more failed; the column sentence of results/ says why")
    kept = f", {summary.kept} kept from an earlier run" if summary.kept else ""
    say(f"{summary.ok} harmonized, {failures} failed{kept}")
    if summary.exit_code:
        raise typer.Exit(summary.exit_code)
