"""The model's word may stand anywhere among the options of `harmonyrt build`: which it is decides what they mean."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

LISTS = ("+", "*")


def model_first(given: Sequence[str], models: Sequence[str], parsers: Sequence[argparse.ArgumentParser]) -> list[str]:
    """The same arguments with the model's word at the front.

    Args:
        given: a command line; options that take one value keep it, whatever it is, and lists end at a model's name.
        models: names of models.
        parsers: whose options there are, of every model.

    Returns:
        `given` rearranged; as it is when it names no model.
    """
    most = 0.0  # how many values the option before may still take
    for index, word in enumerate(given):
        if word.startswith("--") and len(word) > 2:
            name, _, value = word.partition("=")
            most = 0 if value else _values(name, parsers)
        elif most == 1:  # exactly one: `--output phnet` is a folder
            most = 0
        elif word.startswith("-") and most == 0:
            continue
        elif word in models or most == 0:
            return [word, *given[:index], *given[index + 1 :]]
        elif most == 0.5:  # at most one, and this is it
            most = 0
    return list(given)


def _values(name: str, parsers: Sequence[argparse.ArgumentParser]) -> float:
    """How many values an option takes: 0, 1, 0.5 for one at most, or infinitely many."""
    for parser in parsers:
        options = parser._option_string_actions
        matches = [name] if name in options else [option for option in options if option.startswith(name)]
        if len({options[match].dest for match in matches}) == 1:
            action = options[matches[0]]
            return {None: 1, 0: 0, "?": 0.5}.get(action.nargs, float("inf"))  # type: ignore[arg-type]
    return 0
