"""Protocol buffers' text format, as far as a model configuration needs it (`config.pbtxt`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class Word(str):
    """A value that stands without quotes: one of an enumeration's names, for example ``KIND_CPU``."""

    __slots__ = ()


def written(message: Mapping[str, Any]) -> str:
    """A message as text.

    Args:
        message: values by field name: str, :class:`Word`, bool, int, a message, or a list of these for a repeated
            field. A map field is a list of ``{"key": ..., "value": ...}``.

    >>> print(written({"name": "a", "dims": [1, -1], "group": [{"kind": Word("KIND_CPU")}]}), end="")
    name: "a"
    dims: [1, -1]
    group {
      kind: KIND_CPU
    }
    """
    return "\n".join([*_lines(message, ""), ""])


def _lines(message: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, value in message.items():
        if isinstance(value, list) and not any(isinstance(one, Mapping) for one in value):
            yield f"{indent}{name}: [{', '.join(map(_scalar, value))}]"
            continue
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, Mapping):
                yield f"{indent}{name}: {_scalar(one)}"
            elif one:
                yield f"{indent}{name} {{"
                yield from _lines(one, f"{indent}  ")
                yield f"{indent}}}"
            else:
                yield f"{indent}{name} {{}}"


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, Word)):
        return str(value)
    if isinstance(value, str):
        return f'"{"".join(map(_character, value.encode()))}"'
    raise TypeError(f"{type(value).__name__} has no place in a configuration")


def _character(byte: int) -> str:
    character = chr(byte)
    if character in '"\\':
        return f"\\{character}"
    return character if 0x20 <= byte < 0x7F else f"\\{byte:03o}"
