"""Files wherever they lie: this machine, S3, Google Cloud Storage, https. Reads and whole writes, with retries.

A path without ``://`` is local. Everything else goes through fsspec, and who may read what is the store's own matter:
its environment variables, profiles and roles. Nothing here takes a key, and nothing that is said or kept shows one.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.common.errors import require
from harmonyrt.common.files import NO_ROOM, make_folder, written_whole

CONNECTIONS = 4
"""Requests that a process has under way at once, to all stores together."""
ATTEMPTS = 8
FIRST_WAIT, LONGEST_WAIT = 0.2, 20.0
"""Seconds before the second attempt, at most, and between any two."""

_READ_ONLY = ("http", "https")
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "http": "aiohttp", "https": "aiohttp"}
_FOR_GOOD = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, NotImplementedError)
_SECRET_VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID")
_connections = threading.BoundedSemaphore(CONNECTIONS)
_Result = TypeVar("_Result")


def is_remote(path: str) -> bool:
    """Whether a path is a URL."""
    return "://" in path


def is_read_only(path: str) -> bool:
    """Whether a store takes no outputs."""
    return path.split("://", 1)[0].lower() in _READ_ONLY if is_remote(path) else False


def joined(prefix: str, name: str) -> str:
    """The path of a name below a prefix."""
    return f"{prefix.rstrip('/')}/{name}" if is_remote(prefix) else str(Path(prefix) / name)


def parent(path: str) -> str:
    """What a path's relatives are below."""
    return path.rpartition("/")[0] if is_remote(path) else str(Path(path).parent)


def without_secrets(text: str) -> str:
    """The text without what opens a store: user names in URLs, signatures of signed URLs, keys of this process."""
    text = re.sub(r"(\w+://)[^/@\s?]+@", r"\1", text)
    text = re.sub(r"(\w+://[^\s?'\"]+)\?[^\s'\"]+", r"\1", text)
    for name in _SECRET_VARIABLES:
        value = os.environ.get(name, "")
        if len(value) >= 8:
            text = text.replace(value, "***")
    return text


def read(path: str, offset: int = -1, size: int = -1) -> bytes:
    """The bytes of a file, or `size` of them from `offset` on.

    Raises:
        HarmonyError: it does not exist, or may not be read.
        WorkFailed: its store did not answer, after all attempts.
    """
    if is_remote(path):
        span = {} if offset < 0 else {"start": offset, "end": offset + size}
        return _retried(lambda: _store(path).cat_file(_bare(path), **span), path, "read")
    try:
        with open(path, "rb") as file:
            if offset < 0:
                return file.read()
            file.seek(offset)
            return file.read(size)
    except OSError as error:
        raise _local_error(error, path, "read") from None


def write(path: str, data: bytes) -> None:
    """Write a file whole: it appears with all of its bytes, or not at all.

    Locally that is a scratch file that is renamed; in a store one request, or an upload in parts, completed last.

    Raises:
        HarmonyError: the place takes no files.
        WorkFailed: the disk is full, or the store did not answer, after all attempts.
    """
    if is_remote(path):
        _retried(lambda: _store(path).pipe_file(_bare(path), data), path, "written")
        return
    make_folder(Path(path).parent)
    try:
        with written_whole(path) as scratch:
            scratch.write_bytes(data)
    except OSError as error:
        raise _local_error(error, path, "written") from None


def remove(path: str) -> None:
    """Remove a file; one that is not there is fine."""
    if is_remote(path):
        with contextlib.suppress(FileNotFoundError):
            _retried(lambda: _gone(path), path, "removed")
        return
    Path(path).unlink(missing_ok=True)


@contextlib.contextmanager
def folder_for(path: str, clean: bool = False) -> Iterator[None]:
    """Make a folder for outputs, if it is one of this machine; a new one that stays empty goes away again.

    Args:
        path: the folder, or a prefix of a store.
        clean: remove scratch files of workers that were killed, in the end, when none of ours works any more.

    Raises:
        HarmonyError: it cannot be made.
    """
    new = not is_remote(path) and not Path(path).exists()
    if not is_remote(path):
        make_folder(path)
    try:
        yield
    finally:
        if clean and not is_remote(path):
            _sweep(path)
        if new:
            with contextlib.suppress(OSError):
                os.rmdir(path)


def _sweep(folder: str) -> None:
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if entry.name.startswith(".") and ".partial" in entry.name:
                Path(entry.path).unlink(missing_ok=True)


def _gone(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        _store(path).rm_file(_bare(path))


def names(prefix: str) -> list[tuple[str, bool]]:
    """What lies directly below a prefix, sorted: (name, whether it is a folder). Nothing, where there is no prefix.

    Raises:
        HarmonyError: it cannot be listed.
    """
    if is_read_only(prefix):
        raise HarmonyError(
            f"{without_secrets(prefix)} cannot be listed; give a table (.csv or .parquet) that names files"
        )
    if not is_remote(prefix):
        try:
            return sorted((entry.name, entry.is_dir()) for entry in os.scandir(prefix))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _local_error(error, prefix, "listed") from None
    bare = _bare(prefix).rstrip("/")

    def listed() -> list[dict[str, Any]]:
        try:
            return _store(prefix).ls(bare, detail=True, refresh=True)
        except FileNotFoundError:
            return []

    found = (
        (entry["name"].rstrip("/").rpartition("/")[2], entry["type"] == "directory")
        for entry in _retried(listed, prefix, "listed")
        if entry["name"].rstrip("/") != bare
    )
    return sorted(found)


@contextlib.contextmanager
def local_copy(path: str, folder: str | Path) -> Iterator[Path]:
    """Yield a local file with the bytes of `path`: itself, or a copy in `folder` that goes away afterwards."""
    if not is_remote(path):
        if not Path(path).is_file():
            raise HarmonyError(f"{path} does not exist; give an existing file")
        yield Path(path)
        return
    copy = Path(folder) / f"copy-{os.getpid()}-{path.rpartition('/')[2]}"
    try:
        _retried(lambda: _store(path).get_file(_bare(path), str(copy)), path, "read")
        yield copy
    finally:
        copy.unlink(missing_ok=True)


@contextlib.contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """Yield a file that can be read from any place on, without fetching all of it."""
    if is_remote(path):
        with _retried(lambda: _store(path).open(_bare(path), "rb"), path, "read") as file:
            yield file
        return
    try:
        with open(path, "rb") as file:
            yield file
    except OSError as error:
        raise _local_error(error, path, "read") from None


def _bare(path: str) -> str:
    return path if is_read_only(path) else re.sub(r"^(\w+://)[^/@]+@", r"\1", path)


def _store(path: str) -> Any:
    return _opened_store(path.split("://", 1)[0].lower(), os.getpid())


@lru_cache(maxsize=8)
def _opened_store(protocol: str, process: int) -> Any:
    """A store's client. Its own retries stay few: those of :func:`_retried` wait longer, and never all at once."""
    fsspec = require("fsspec", "fleet", f"reading {protocol}://")
    options: dict[str, Any] = {}
    if protocol in ("s3", "s3a"):
        config = {"max_pool_connections": CONNECTIONS, "connect_timeout": 10, "read_timeout": 60}
        options = {"config_kwargs": {**config, "retries": {"total_max_attempts": 1}}, "use_listings_cache": False}
        options["max_concurrency"] = 1  # of the parts of one object: they count as the connection that they have
    try:
        return fsspec.filesystem(protocol, **options)
    except ImportError:
        package = _PACKAGES.get(protocol, f"the package for {protocol}://")
        raise HarmonyError(
            f"{protocol}:// needs the package {package}, which is not installed: run pip install {package}"
        ) from None
    except ValueError:
        known = "a local path, s3://, gs:// or https://"
        raise HarmonyError(f"{protocol}:// is not known; give {known}") from None


def _retried(work: Callable[[], _Result], path: str, done: str) -> _Result:
    """Do it again after a wait of random length, up to a limit that doubles, unless it failed for good."""
    limit = FIRST_WAIT
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with _connections:
                return work()
        except HarmonyError:
            raise
        except _FOR_GOOD as error:
            raise HarmonyError(f"{without_secrets(path)} {_why(error)}; check the name and who may read it") from None
        except Exception as error:  # each store's library has exceptions of its own
            if attempt == ATTEMPTS:
                said = without_secrets(" ".join(f"{type(error).__name__}: {error}".split()))[:300]
                failed = f"{without_secrets(path)} could not be {done} in {ATTEMPTS} attempts"
                raise WorkFailed(f"{failed} ({said}); run again with --resume") from None
        time.sleep(random.uniform(0, limit))
        limit = min(2 * limit, LONGEST_WAIT)
    raise AssertionError("the loop returns or raises")


def _why(error: OSError | NotImplementedError) -> str:
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    return "may not be read or written" if isinstance(error, PermissionError) else "is no file"


def _local_error(error: OSError, path: str, done: str) -> HarmonyError:
    if isinstance(error, FileNotFoundError):
        return HarmonyError(f"{path} does not exist; check the name")
    kind = WorkFailed if error.errno in NO_ROOM else HarmonyError
    return kind(f"{path} cannot be {done} ({error.strerror}); check the disk and permissions")
