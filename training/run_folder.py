"""A run's folder belongs to one run at a time, and its log to the steps that the run still has."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harmonyrt.common import HarmonyError
from harmonyrt.common.files import make_folder

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[Path]:
    """Make a run's folder and keep other programs from training in it meanwhile.

    The lock is the process's own: a worker that outlives a killed run by seconds does not keep the next one out. A new
    folder into which nothing was written, since the run was refused, is removed again.

    Raises:
        HarmonyError: another program trains in it, or it cannot be made or written.
    """
    is_new = not folder.exists()
    make_folder(folder)
    path = folder / LOCK
    handle = _lock(path) if fcntl is not None else None
    try:
        yield folder
    finally:
        left = [entry for entry in folder.iterdir() if entry != path] if folder.is_dir() else []
        is_empty = is_new and all(entry.is_file() and entry.stat().st_size == 0 for entry in left)
        if is_empty:
            for entry in left:
                entry.unlink()
        if handle is not None:
            path.unlink(missing_ok=True)
            os.close(handle)
        if is_empty:
            with contextlib.suppress(OSError):  # another run has taken it meanwhile
                folder.rmdir()


def _lock(path: Path) -> int | None:
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise HarmonyError(
                f"cannot write into {path.parent}: {error.strerror}; choose another run folder"
            ) from None
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # POSIX allows either for a lock that is held
            os.close(handle)
            raise HarmonyError(
                f"another program is training in {path.parent}; wait until it has ended, or choose another run folder"
            ) from None
        except OSError:  # a file system without locks
            os.close(handle)
            return None
        if path.exists() and os.path.samestat(os.stat(path), os.fstat(handle)):
            return handle
        os.close(handle)  # the run that held it has removed the file meanwhile: take the new one


def cut_log(path: Path, step: int) -> list[dict[str, Any]]:
    """Drop a log's entries of steps after `step`, which a killed run made and its checkpoint does not have.

    Such steps are made again, and would be in the log twice. A last line that was cut off goes with them.

    Returns:
        The entries that stay.
    """
    kept: list[dict[str, Any]] = []
    end = 0
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            entry = json.loads(line)
            if entry["step"] > step or not line.endswith(b"\n"):
                break
        except (ValueError, KeyError, TypeError):
            break
        kept.append(entry)
        end += len(line)
    if end < path.stat().st_size:
        os.truncate(path, end)
    return kept
