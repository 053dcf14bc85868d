"""`harmonyrt VERB`: the list of verbs, and what every verb has in common: how it ends.

A verb is a function with typer's annotations, one module each (``app.command()(...)`` below). `build` is a program with
its own argparse parser and gets its arguments untouched. Modules of verbs import nothing but typer and the standard
library at their top, so that `harmonyrt --help` is quick and works without any optional package.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Sequence

import typer

from harmonyrt.cli import (
    batch,
    bench,
    calibrate,
    candidates,
    compose,
    doctor,
    evaluate,
    harmonize,
    info,
    polygraphy,
    serve,
    synthesize,
    train,
    train_diffharmony,
    triton,
    verify,
    video,
)
from harmonyrt.cli.console import warnings_as_lines
from harmonyrt.common import HarmonyError
from harmonyrt.common.program import run_program

BUILD = "harmonyrt.export.build_engines"
"""The module whose `main(argv)` is the verb `build`: also a script, whose options argparse explains."""

app = typer.Typer(
    name="harmonyrt",
    help="Image harmonization networks as verified engines, and a runtime that runs them.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"harmonyrt {importlib.metadata.version('harmonyrt')}")
        raise typer.Exit()


@app.callback()
def _common(
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", callback=_print_version, is_eager=True
    ),
) -> None:
    """Image harmonization networks as verified engines, and a runtime that runs them."""


@app.command(
    "build", context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
)
def build() -> None:
    """Build verified bundles from a checkpoint."""  # for the list of verbs: `_run` calls the program


app.command("harmonize")(harmonize.harmonize)
app.command("compose")(compose.compose)
app.command("video")(video.video)
app.command("batch")(batch.batch)
app.command("verify")(verify.verify)
app.command("serve")(serve.serve)
app.command("triton")(triton.triton)
app.command("polygraphy")(polygraphy.polygraphy)
app.command("info")(info.info)
app.command("doctor")(doctor.doctor)
app.command("calibrate")(calibrate.calibrate)
app.command("bench")(bench.bench)
app.command("evaluate", cls=evaluate.SeedsCommand)(evaluate.evaluate)
app.command("train")(train.train)
app.command("train-diffharmony")(train_diffharmony.train_diffharmony)
app.command("candidates")(candidates.candidates)
app.command("synthesize")(synthesize.synthesize)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        argv: arguments without the program's name; None for those of this process.

    Returns:
        0 fine, 1 the work failed, 2 wrong usage or input, 130 interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)

    def work() -> int:
        try:
            with warnings_as_lines():
                return _run(arguments)
        except Exception as error:
            usage = _usage_sentence(error)
            if usage is None:
                raise
            raise HarmonyError(usage) from None

    return run_program(work)


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["build"]:
        result = importlib.import_module(BUILD).main(arguments[1:])
    else:
        result = app(arguments or ["--help"], prog_name="harmonyrt", standalone_mode=False)
    return result if isinstance(result, int) else 0


def _usage_sentence(error: Exception) -> str | None:
    """What typer says of a wrong command line; None for any other exception. (Its classes have no public name.)"""
    if not hasattr(error, "format_message") or not hasattr(error, "exit_code"):
        return None
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "harmonyrt"
    message = " ".join(error.format_message().split()).rstrip(".")
    return f"{message[:1].lower()}{message[1:]}; see {path} --help"


if __name__ == "__main__":
    sys.exit(main())
