"""`harmonyrt VERB`: the list of verbs, and what every verb has in common: how it ends.

A verb is a function with typer's annotations in a module of its own (``app.command()(...)`` below), or a program with
an argparse `main(argv)` of its own that gets its arguments untouched (``_PROGRAMS``). Modules of verbs import nothing
but typer and the standard library at their top, so that `harmonyrt --help` is quick and works without any optional
package.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Sequence

import typer

from harmonyrt.cli import bench, calibrate, compose, doctor, evaluate, harmonize, info, synthesize, train, verify
from harmonyrt.cli.console import warnings_as_lines
from harmonyrt.common import HarmonyError
from harmonyrt.common.program import run_program

_PROGRAMS = {
    "build": ("harmonyrt.export.build_engines", "Build verified bundles from a checkpoint."),
}
"""Verb: the module whose `main(argv)` it is, and its line in the list of verbs."""

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
        False, "--version", help="Print the version and leave.", callback=_print_version, is_eager=True
    ),
) -> None:
    """Image harmonization networks as verified engines, and a runtime that runs them."""


def _list_program(verb: str, line: str) -> None:
    settings = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    app.command(verb, help=line, context_settings=settings)(lambda: None)  # for the list: `main` calls the program


_list_program("build", _PROGRAMS["build"][1])
app.command("harmonize")(harmonize.harmonize)
app.command("compose")(compose.compose)
app.command("verify")(verify.verify)
app.command("info")(info.info)
app.command("doctor")(doctor.doctor)
app.command("calibrate")(calibrate.calibrate)
app.command("bench")(bench.bench)
app.command("evaluate")(evaluate.evaluate)
app.command("train")(train.train)
app.command("synthesize")(synthesize.synthesize)
for _verb in [verb for verb in _PROGRAMS if verb != "build"]:
    _list_program(_verb, _PROGRAMS[_verb][1])


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
    if arguments and arguments[0] in _PROGRAMS:
        result = importlib.import_module(_PROGRAMS[arguments[0]][0]).main(arguments[1:])
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
