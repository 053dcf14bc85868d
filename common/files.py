"""Files and folders that appear whole or not at all, and the hash that proves them whole."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harmonyrt.common.errors import HarmonyError, WorkFailed

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
"""Errors of a full disk: the work failed, the input was fine."""
_REPEATED = 16
"""Characters of a name that its scratch file repeats: a name may have 255 bytes, and the scratch file's is longer."""


def sha256_of(path: str | Path) -> str:
    """Hex SHA-256 of a file, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _sha256(file)


@contextlib.contextmanager
def utf8_name(path: str | Path) -> Iterator[str]:
    """Yield a name of an existing file that libraries in other languages take: most refuse what is not UTF-8.

    Where `path` is not, Linux knows its folder by a number as well, while it is held open, so that files next to it are
    found too; or the file, where its own name is to blame.
    """
    path = Path(path)
    if _is_utf8(os.fspath(path)):
        yield os.fspath(path)
        return
    named = _is_utf8(path.name)
    handle = os.open(path.parent if named else path, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{handle}/{path.name}" if named else f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:  # bytes that Python keeps as lone surrogates
        return False
    return True


def _sha256(file) -> str:  # Python 3.10 has no hashlib.file_digest
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def make_folder(path: str | Path, advice: str = "choose another output") -> Path:
    """Make a folder and its parents; an existing one is fine.

    Args:
        path: the folder.
        advice: the end of the sentence when it cannot be made.

    Raises:
        HarmonyError: something else has that name, or it cannot be made.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HarmonyError(f"cannot make the folder {path}: {error.strerror}; {advice}") from None
    return path


def is_special(path: str | Path) -> bool:
    """Whether a path is a named pipe or a device such as /dev/null: bytes go through it, and nothing is kept."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)


@contextlib.contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Yield a scratch path; on success it becomes `path` in one rename, on any error it is removed.

    The scratch file lies in the folder of `path` and keeps its suffix, since writers choose a format by it. Where
    `path` is a link, the file that it names is written and the link stays. A named pipe or a device is not replaced:
    what was written goes into it once it is whole.

    Raises:
        HarmonyError: when the folder is missing or cannot be written.
        WorkFailed: when who reads a named pipe leaves, or the device takes no more.
    """
    named, path = Path(path), Path(os.path.realpath(path))
    special = is_special(named)
    folder = None if special else path.parent
    try:
        handle, scratch_name = tempfile.mkstemp(
            prefix=f".{named.stem[:_REPEATED]}.", suffix=f".partial{named.suffix[:_REPEATED]}", dir=folder
        )
    except OSError as error:
        kind = WorkFailed if error.errno in NO_ROOM else HarmonyError
        raise kind(
            f"cannot write {named}: {error.strerror}; choose another output or make the folder writable"
        ) from None
    os.close(handle)
    scratch = Path(scratch_name)
    umask = os.umask(0)
    os.umask(umask)
    try:
        yield scratch
        if special:
            _poured(scratch, named)
            return
        scratch.chmod(0o666 & ~umask)  # mkstemp made it private
        try:
            os.replace(scratch, path)
        except OSError as error:
            raise HarmonyError(f"cannot write {named}: {error.strerror}; choose another output") from None
    finally:
        scratch.unlink(missing_ok=True)


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as JSON, one entry a line; whole or not at all, as :func:`written_whole`."""
    with written_whole(path) as scratch:
        scratch.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def _poured(scratch: Path, into: Path) -> None:
    try:
        with open(scratch, "rb") as source, open(into, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    except OSError as error:
        advice = "see that it is read to its end" if isinstance(error, BrokenPipeError) else "choose another output"
        raise WorkFailed(f"cannot write to {into}: {error.strerror}; {advice}") from None
