"""PyAV, imported where it is used, and its errors as sentences."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.common.errors import require
from harmonyrt.common.files import NO_ROOM


def library() -> Any:
    """The module `av`, silent.

    Raises:
        HarmonyError: it is not installed.
    """
    av = require("av", "video", "reading and writing clips")
    logging.getLogger("libav").setLevel(logging.CRITICAL)  # errors come as exceptions, and we say the rest
    return av


def reason(error: BaseException) -> str:
    """What FFmpeg says of an error, without its number."""
    return (getattr(error, "strerror", None) or str(error)).strip().rstrip(".")


@contextlib.contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Turn FFmpeg's errors about an input into sentences.

    Raises:
        HarmonyError: the file is no clip, is damaged or is not there.
    """
    av = library()
    try:
        yield
    except av.FFmpegError as error:
        if isinstance(error, FileNotFoundError):
            raise HarmonyError(f"there is no file {path}; check the path") from None
        if isinstance(error, IsADirectoryError):
            raise HarmonyError(f"{path} is a folder; give a clip") from None
        if isinstance(error, PermissionError):
            raise HarmonyError(f"{path} cannot be read ({reason(error)}); check its permissions") from None
        what = f"{path} cannot be read as a clip ({reason(error)})"
        raise HarmonyError(f"{what}; check that it is one and that it is whole") from None


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turn FFmpeg's errors about an output into sentences.

    Raises:
        WorkFailed: the disk is full.
        HarmonyError: the codec or the container refuses what it was given.
    """
    av = library()
    try:
        yield
    except av.FFmpegError as error:
        if error.errno in NO_ROOM:
            raise WorkFailed(f"there is no room left on the disk for {path}; free some and run again") from None
        what = f"{path} cannot be written ({reason(error)})"
        raise HarmonyError(f"{what}; choose another --codec, --pix-fmt or container") from None
