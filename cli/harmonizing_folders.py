"""`harmonyrt harmonize` for two folders: one bad pair does not stop the others."""

from __future__ import annotations

import dataclasses
from pathlib import Path, PurePath
from typing import Any

from harmonyrt.cli.console import print_json, print_path
from harmonyrt.cli.harmonize_options import STREAM, Options, is_there
from harmonyrt.cli.harmonizing import Result, harmonized, opened, read_inputs, report
from harmonyrt.common import HarmonyError
from harmonyrt.common.errors import error_of_pair
from harmonyrt.common.files import make_folder
from harmonyrt.common.progress import progress, say
from harmonyrt.runtime.images.encode import write_picture_file
from harmonyrt.runtime.images.pairs import Pair, Pairing, output_names, paired


def run_folder(options: Options) -> int:
    """Harmonize every pair of two folders.

    Returns:
        0; or 1 if the work failed for some picture, 2 if only the input was wrong.

    Raises:
        HarmonyError: wrong usage, or no bundle that opens.
    """
    output = _output_folder(options)
    pairing = paired(Path(options.composite), Path(options.mask or ""))
    results: list[Result] = []
    failures: list[tuple[PurePath, HarmonyError]] = []
    said: set[str] = set()
    with opened(options) as (harmonizer, lines):
        make_folder(output)
        with progress(len(pairing.pairs), "harmonizing") as step:
            for pair, name in output_names(pairing, options.format):
                target = output / name
                try:
                    done = _one_of_many(harmonizer, options, pair, target)
                    if done is not None:
                        results.append(done)
                        if not options.as_json:
                            print_path(target)
                except Exception as error:  # whatever it is, it is this pair's: the others are done all the same
                    failures.append((pair.composite, error_of_pair(error, pair.composite)))
                _say_new(lines, said, pair.composite.name)
                step(pair.composite.name)
    failures += [(path, HarmonyError(sentence)) for path, sentence in pairing.failed]
    _summarize(options, harmonizer, pairing, results, failures)
    return 0 if not failures else 1 if any(error.exit_code == 1 for _, error in failures) else 2


def _output_folder(options: Options) -> Path:
    if options.alpha_mask:
        raise HarmonyError("--alpha-mask is for single pictures; give a folder of masks")
    single = {"--layer": options.extras.layer, "--lut": options.extras.lut, "--background": options.background}
    for option, given in single.items():
        if given:
            raise HarmonyError(f"{option} is for single pictures; call harmonize once for each")
    if options.mask is None or not Path(options.mask).is_dir():
        raise HarmonyError(f"{options.composite} is a folder; give a folder of masks with the same names as well")
    if options.output is None or options.output == STREAM:
        raise HarmonyError("a folder of pictures needs a folder for the output; name it with -o harmonized/")
    output = Path(options.output)
    if output.exists() and not output.is_dir():
        raise HarmonyError(f"{output} is a file; name a folder for the outputs")
    for folder in (options.composite, options.mask):
        if output.exists() and output.samefile(folder):
            raise HarmonyError(f"the output folder {output} is an input folder; choose another one")
    return output


def _one_of_many(harmonizer: Any, options: Options, pair: Pair, target: Path) -> Result | None:
    if is_there(target, options.existing):
        return None
    options = dataclasses.replace(options, composite=str(pair.composite), mask=str(pair.mask), in_folder=True)
    inputs = read_inputs(options, options.composite, options.mask)
    result, done, _ = harmonized(harmonizer, inputs, options, str(target))
    return dataclasses.replace(done, notes=(*inputs.notes, *write_picture_file(result, target)))


def _say_new(lines: list[str], said: set[str], name: str) -> None:
    """Print what was collected; warnings with the picture's name, everything else once."""
    for line in lines:
        if line.startswith("warning: "):
            say(f"{line} ({name})")
        elif line not in said:
            said.add(line)
            say(line)
    lines.clear()


def _summarize(
    options: Options,
    harmonizer: Any,
    pairing: Pairing,
    results: list[Result],
    failures: list[tuple[PurePath, HarmonyError]],
) -> None:
    if options.as_json:
        content = report(harmonizer, results)
        content["failed"] = [{"composite": str(path), "error": str(error)} for path, error in failures]
        content["unused_masks"] = [str(path) for path in pairing.without_composite]
        content["passed_over"] = list(pairing.passed_over)
        print_json(content)
    for note in sorted({note for done in results for note in done.notes}):
        say(f"note: {note}")
    for line in pairing.remarks():
        say(line)
    for _, error in failures:
        say(f"error: {error}")
    skipped = len(pairing.pairs) + len(pairing.failed) - len(results) - len(failures)
    extra = f", {skipped} skipped because they are there already" if skipped else ""
    say(f"{len(results)} harmonized, {len(failures)} failed{extra}")
