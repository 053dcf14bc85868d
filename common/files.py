"""Files and folders that appear whole or not at all, and the hash that proves them whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harmonyrt.common.errors import HarmonyError


def sha256_of(path: str | Path) -> str:
    """Hex SHA-256 of a file, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _sha256(file)


def _sha256(file) -> str:  # Python 3.10 has no hashlib.file_digest
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Yield a scratch path beside `path`; on success it becomes `path` in one rename, on any error it is removed.

    The scratch name keeps the suffix of `path`, since writers choose a format by it.

    Raises:
        HarmonyError: when the folder is missing or cannot be written.
    """
    path = Path(path)
    try:
        handle, scratch_name = tempfile.mkstemp(
            prefix=f".{path.stem}.", suffix=f".partial{path.suffix}", dir=path.parent
        )
    except OSError as error:
        raise HarmonyError(
            f"cannot write {path}: {error.strerror}; choose another output or make the folder writable"
        ) from None
    os.close(handle)
    scratch = Path(scratch_name)
    umask = os.umask(0)
    os.umask(umask)
    try:
        yield scratch
        scratch.chmod(0o666 & ~umask)  # mkstemp made it private
        try:
            os.replace(scratch, path)
        except OSError as error:
            raise HarmonyError(f"cannot write {path}: {error.strerror}; choose another output") from None
    finally:
        scratch.unlink(missing_ok=True)
