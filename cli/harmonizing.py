"""`harmonyrt harmonize` for one picture, once its options are read."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harmonyrt.cli.bundles import chosen_bundle
from harmonyrt.cli.console import collected, print_json, print_path, silent_libraries
from harmonyrt.cli.extras import say_residual
from harmonyrt.cli.harmonize_options import STREAM, Options, check_no_input, checked_output, is_there
from harmonyrt.common import HarmonyError
from harmonyrt.common.files import is_special, written_whole
from harmonyrt.common.progress import growing_progress, say
from harmonyrt.common.streams import read_stdin
from harmonyrt.runtime.images.encode import WRITABLE, check_writable, save, write_picture_file
from harmonyrt.runtime.images.foreground import foreground_ratio
from harmonyrt.runtime.images.inputs import (
    Inputs,
    Placing,
    Reading,
    read_composed,
    read_pair,
    read_place,
    with_match,
)
from harmonyrt.runtime.images.masks import MaskFile
from harmonyrt.runtime.images.pictures import PictureFile


@dataclass(frozen=True)
class Result:
    """One harmonized picture, as `--json` reports it. Seconds are the runtime's, without reading and writing files."""

    composite: str
    mask: str
    output: str
    width: int
    height: int
    foreground_ratio: float
    seconds: float
    notes: tuple[str, ...]
    extras: dict[str, Any] = dataclasses.field(default_factory=dict)


def run_one(options: Options) -> int:
    """Harmonize one composite.

    Returns:
        0.

    Raises:
        HarmonyError: wrong usage or input.
    """
    output = checked_output(options, options.output or (STREAM if options.composite == STREAM else None))
    if output != STREAM:
        if not is_special(output):
            check_writable(output)
        check_no_input(Path(output), options.composite, options.mask, options.background, options.match)
    match = None if options.match is None else str(options.match)
    options.extras.check(output, (options.composite, options.mask, options.background, match))
    for extra in options.extras.paths:
        is_there(extra, options.existing)
    if output != STREAM and is_there(Path(output), options.existing):
        say(f"{output} already exists: skipped")
        return 0
    with collected() as remarks:
        inputs = read_inputs(options, options.composite, options.mask)
    with opened(options) as (harmonizer, lines):
        result, done, whole = harmonized(harmonizer, inputs, options, output)
        notes = [*inputs.notes, *_written(result, output, options)]
        more, told = options.extras.write(whole)
    for line in [*remarks, *lines]:
        say(line)
    notes += more
    for note in notes:
        say(f"note: {note}")
    say_residual(told)
    done = dataclasses.replace(done, notes=tuple(notes), extras=told)
    if options.as_json:
        print_json(report(harmonizer, [done]))
    elif output != STREAM:
        for extra in options.extras.paths:
            print_path(extra)
        if not is_special(output):  # through which the picture went, perhaps to stdout
            print_path(output)
        say(f"harmonized {done.width}x{done.height} pixels in {done.seconds:.2f} s")
    return 0


def read_inputs(options: Options, composite: str, mask: str | None) -> Inputs:
    """Read a pair; the mask inverted, resized or taken from the alpha channel as asked, or both made from a cut-out.

    Raises:
        HarmonyError: either cannot be read, or they do not match.
    """
    source, name = (read_stdin(), "the picture from stdin") if composite == STREAM else (composite, composite)
    how = Reading(options.fit_mask, options.invert_mask, options.label or None, options.max_megapixels)
    with silent_libraries():
        if options.background is not None:
            placing = Placing(
                read_place(options.at or "0,0"), 1.0 if options.scale is None else options.scale, options.premultiplied
            )
            inputs = read_composed(source, options.background, placing, how, name, options.background)
        else:
            inputs = read_pair(source, mask, how, name, mask)
        if options.match is not None:
            inputs = with_match(inputs, options.match, how, str(options.match), name)
    return inputs


@contextlib.contextmanager
def opened(options: Options) -> Iterator[tuple[Any, list[str]]]:
    """The runtime, and the lines that are to be shown to the user."""
    from harmonyrt.runtime.harmonizer import Harmonizer
    from harmonyrt.runtime.trained_sizes import outside_trained_sizes

    bundle, chosen = chosen_bundle(options.bundle)
    with collected() as lines:
        lines += chosen
        with Harmonizer.open(
            bundle,
            backend=options.backend,
            threads=options.threads,
            device=options.device,
            target=options.target,
            precision=options.precision,
            provider=options.provider,
            megapixel_limit=options.max_megapixels,
        ) as harmonizer:
            if options.diffusion and harmonizer.info.model != "diffharmony":
                given = ", ".join(f"--{name}" for name in options.diffusion)
                raise HarmonyError(
                    f"{given} is for diffharmony and {bundle} holds {harmonizer.info.model}; leave it out"
                )
            if harmonizer.info.random_weights:
                lines.append("warning: the weights of this bundle are random: its pictures are meaningless")
            if note := outside_trained_sizes(harmonizer.info.config, harmonizer.info.size):
                lines.append(f"note: {Path(bundle).name}: {note}")
            yield harmonizer, lines


def harmonized(harmonizer: Any, inputs: Inputs, options: Options, output: str) -> tuple[PictureFile, Result, Any]:
    """Run the network; what to write, what to report about it, and what its layer and LUT are made of."""
    picture, mask = inputs.picture, inputs.mask
    started = time.perf_counter()
    with _run_options(harmonizer, options) as run_options:
        whole = harmonizer.harmonize_detailed(
            picture,
            MaskFile(mask),
            fit_mask=options.fit_mask,
            options=run_options,
            strength=options.strength,
            keep=options.keep,
            match=inputs.match,
        )
    result = whole.picture
    seconds = time.perf_counter() - started
    if options.side_by_side:
        row = np.concatenate([picture.rgb, np.repeat(mask[..., None], 3, axis=2), result.rgb], axis=1)
        result = PictureFile(rgb=row, native=row)
    height, width = mask.shape
    ratio = round(foreground_ratio(mask), 6)
    named = "alpha" if options.mask is None else options.mask
    return result, Result(options.composite, named, output, width, height, ratio, round(seconds, 4), ()), whole


@contextlib.contextmanager
def _run_options(harmonizer: Any, options: Options) -> Iterator[Any]:
    """Options for a bundle that takes seconds to minutes; with a bar for a single picture. None for others."""
    if harmonizer.info.model != "diffharmony":
        yield None
        return
    from harmonyrt.runtime.diffusion import RunOptions

    if options.in_folder:  # which has its own bar
        yield RunOptions(**options.diffusion)
        return
    with growing_progress("harmonizing") as show:
        yield dataclasses.replace(RunOptions(**options.diffusion), progress=lambda name, done, total: show(done, total))


def _written(result: PictureFile, output: str, options: Options) -> list[str]:
    if output == STREAM:
        data, notes = _encoded(result, WRITABLE[options.format or ".png"], "stdout")
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return notes
    if not is_special(output):
        return write_picture_file(result, output)
    own = Path(output).suffix.lower()
    data, notes = _encoded(result, WRITABLE[own if own in WRITABLE else options.format or ".png"], output)
    with written_whole(output) as scratch:
        scratch.write_bytes(data)
    return notes


def _encoded(result: PictureFile, file_format: str, where: str) -> tuple[bytes, list[str]]:
    """The whole file, before its first byte goes out."""
    stream = io.BytesIO()
    notes = save(result, stream, file_format, where)
    return stream.getvalue(), notes


def report(harmonizer: Any, results: list[Result]) -> dict[str, Any]:
    """What `--json` prints."""
    return {"engine": _as_plain(harmonizer.info), "results": [dataclasses.asdict(done) for done in results]}


def _as_plain(info: Any) -> Any:
    whole = dataclasses.is_dataclass(info) and not isinstance(info, type)
    return dataclasses.asdict(info) if whole else dict(info)
