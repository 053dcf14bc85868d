"""What is derived from verified files and kept on disk: compiled models, kernels, timings. docs/cache.md has the rules.

An entry is as good as code, and nothing here may stop a run or change a picture. So an entry is found by what it was
made from (the engine files' sha256, the library's version, the CPU, the settings) and not by paths or times; its own
sha256 is checked before it is used; and it counts only in a folder and a file that nobody else can write. Whatever is
wrong costs the time of compiling again, and one note in the log.

The C++ runtime (runtime/cpp/src/backends/compiled_cache.cpp) reads and writes the same files.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import stat
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

log = logging.getLogger("harmonyrt.runtime")

DEFAULT_MIB = 4096
"""Largest sum of all entries of a folder: DiffHarmony's UNet alone takes 3300 in FP32."""
LIMIT_VARIABLE = "HARMONYRT_CACHE_MIB"
SUBFOLDER = "compiled"
SUFFIX = ".compiled"
NONE = ""
"""As a cache folder: keep nothing."""

_MAGIC = "harmonyrt-compiled-1"
_HEADER = 128  # bytes of: magic, sha256 of all that follows, sizes of key and content, spaces, a newline
_PIECE = 1 << 20
_ABANDONED = 3600  # seconds after which a scratch file belongs to a process that died
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
_told: set[str] = set()


def user_folder() -> Path | None:
    """HarmonyRT's folder in the user's cache: ``$XDG_CACHE_HOME`` if absolute, else ``~/.cache``; None for no home."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(given) and os.environ.get("HOME") == "":
        return None
    try:  # a relative one is invalid, says the XDG Base Directory Specification, and is to be ignored
        root = Path(given) if os.path.isabs(given) else Path.home() / ".cache"
    except (RuntimeError, KeyError):
        return None
    return root / "harmonyrt" if root.is_absolute() else None


def limit_bytes() -> int:
    """The bound on a cache folder: ``$HARMONYRT_CACHE_MIB``, else :data:`DEFAULT_MIB`; 0 keeps nothing."""
    given = os.environ.get(LIMIT_VARIABLE, "").strip()
    if given and not given.isdecimal():
        _note(f"{LIMIT_VARIABLE} is {given!r}, not a whole number: compiled models take up to {DEFAULT_MIB} MiB")
        given = ""
    return int(given or DEFAULT_MIB) << 20


def key_text(key: Mapping[str, object]) -> str:
    """A key as it is written in an entry: lines of name=value by name; True and False in lower case."""
    words = {True: "true", False: "false"}
    values = {name: words[value] if isinstance(value, bool) else str(value) for name, value in key.items()}
    return "".join(f"{name}={' '.join(values[name].split())}\n" for name in sorted(values))


def file_name(key: Mapping[str, object]) -> str:
    """File name of an entry: a hash of its key."""
    return hashlib.sha256(key_text(key).encode()).hexdigest()[:32] + SUFFIX


def _bytes(size: int) -> np.ndarray:
    return np.empty(size, np.uint8)


class _Unfit(Exception):
    """Why an entry or a folder is not used, as the end of a sentence."""


@dataclass(frozen=True)
class CompiledCache:
    """A folder of entries.

    Attributes:
        folder: where they are; None keeps nothing.
    """

    folder: Path | None

    @classmethod
    def at(cls, asked: str | None) -> CompiledCache:
        """The cache that was asked for: None for the user's, :data:`NONE` for none, else one in that folder.

        Entries lie in a subfolder that only this user can write, so the folder itself may be anybody's.
        """
        root = user_folder() if asked is None else Path(asked) if asked != NONE else None
        return cls(None if root is None or not limit_bytes() else root / SUBFOLDER)

    def read(self, key: Mapping[str, object], make: Callable[[int], np.ndarray] = _bytes) -> np.ndarray | None:
        """An entry's content, proved to be what was written; None where there is none to use.

        Args:
            key: what the entry was made from.
            make: gives the array (uint8, that many elements) that is filled and returned.
        """
        if self.folder is None:
            return None
        path = self.folder / file_name(key)
        with contextlib.suppress(OSError, _Unfit):
            self._check_folder(make=False)
            return self._read(path, key_text(key).encode(), make)
        return None  # write() reports what is wrong with the folder, once

    def _read(self, path: Path, key: bytes, make: Callable[[int], np.ndarray]) -> np.ndarray | None:
        try:
            content = _content(path, key, make)
        except FileNotFoundError:
            return None
        except (OSError, MemoryError, _Unfit) as error:
            _note(f"the cached file {path} is not used: {_reason(error)}; compiling again")
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # when it was last used: what is longest ago goes first
        return content

    def write(self, key: Mapping[str, object], save: Callable[[BinaryIO], object]) -> str | None:
        """Keep what `save` writes into a file that it may seek in; other processes see all of it or nothing.

        Returns:
            Why it could not be kept, which has been noted; None where all is well.
        """
        if self.folder is None:
            return None
        scratch = ""
        try:
            self._check_folder(make=True)
            handle, scratch = tempfile.mkstemp(prefix=".", suffix=".partial", dir=self.folder)
            with os.fdopen(handle, "w+b") as file:
                _fill(file, key_text(key).encode(), save)
                size = file.seek(0, os.SEEK_END)
            if size > limit_bytes():
                raise _Unfit(f"it has {size >> 20} MiB, more than the cache may take ({LIMIT_VARIABLE})")
            os.replace(scratch, self.folder / file_name(key))
            scratch = ""
            self._evict(file_name(key))
        except (OSError, _Unfit) as error:
            _note(f"compiled models are not kept in {self.folder}: {_reason(error)}")
            return _reason(error)
        finally:
            if scratch:
                with contextlib.suppress(OSError):
                    os.unlink(scratch)
        return None

    def remove(self, key: Mapping[str, object]) -> None:
        """Drop an entry that its library did not take."""
        if self.folder is not None:
            with contextlib.suppress(OSError):
                (self.folder / file_name(key)).unlink()

    def size(self) -> int:
        """Size of all entries together, in bytes."""
        return sum(found.st_size for _, found in self._entries())

    def why_not(self) -> str | None:
        """Why entries cannot be kept here; None when they can, as far as can be seen without writing."""
        if self.folder is None:
            return "switched off, or there is no home folder"
        try:
            self._check_folder(make=False)
        except FileNotFoundError:
            near = next(parent for parent in self.folder.parents if parent.exists())
            return None if os.access(near, os.W_OK) else f"{near} cannot be written"
        except (OSError, _Unfit) as error:
            return _reason(error)
        return None if os.access(self.folder, os.W_OK) else f"{self.folder} cannot be written"

    def _check_folder(self, make: bool) -> None:
        assert self.folder is not None
        if make:
            _check_home(self.folder)
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                self.folder.mkdir(mode=0o700)
        found = os.lstat(self.folder)
        if not stat.S_ISDIR(found.st_mode):
            raise _Unfit(f"{self.folder} is no folder of its own")
        _check_owner(found, "the folder")

    def _entries(self) -> list[tuple[str, os.stat_result]]:
        entries = []
        with contextlib.suppress(OSError):
            for entry in os.scandir(self.folder):
                with contextlib.suppress(OSError):
                    if entry.name.endswith((SUFFIX, ".partial")):
                        entries.append((entry.path, entry.stat(follow_symlinks=False)))
        return entries

    def _evict(self, keep: str) -> None:
        """Delete what was not used for longest until the rest is within the bound, and what dead processes left."""
        entries = sorted(self._entries(), key=lambda entry: entry[1].st_mtime)
        total, most = sum(found.st_size for _, found in entries), limit_bytes()
        for path, found in entries:
            partial = path.endswith(".partial")
            dead = partial and time.time() - found.st_mtime > _ABANDONED
            if dead or (total > most and not partial and os.path.basename(path) != keep):
                with contextlib.suppress(OSError):
                    os.unlink(path)
                total -= found.st_size


def _check_home(folder: Path) -> None:
    """Root, with another user's home (`sudo`), would leave folders there that this user could not write any more."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        near = next(parent for parent in folder.parents if parent.exists())
        if near.stat().st_uid != 0:
            raise _Unfit(f"{near} belongs to another user")


def _check_owner(found: os.stat_result, what: str) -> None:
    if not hasattr(os, "geteuid"):  # Windows: access lists of the user's profile keep others out
        return
    if found.st_uid not in (0, os.geteuid()):
        raise _Unfit(f"{what} belongs to another user")
    if found.st_mode & _OTHERS_MAY_WRITE:
        raise _Unfit(f"other users may write {what}")


def _content(path: Path, key: bytes, make: Callable[[int], np.ndarray]) -> np.ndarray:
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with os.fdopen(os.open(path, flags), "rb", buffering=0) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise _Unfit("it is no plain file")
        _check_owner(found, "it")
        words = file.read(_HEADER).split()
        content = found.st_size - _HEADER - len(key)
        sizes = (str(len(key)).encode(), str(content).encode())
        if content < 0 or len(words) != 4 or words[0] != _MAGIC.encode() or tuple(words[2:]) != sizes:
            raise _Unfit("it was cut short or is no entry")
        digest, data = hashlib.sha256(), make(content)
        if file.read(len(key)) != key:
            raise _Unfit("it was made from something else")
        digest.update(key)
        view, done = data.data, 0
        while done < content:
            got = file.readinto(view[done : done + _PIECE])
            if not got:
                raise _Unfit("it was cut short")
            digest.update(view[done : done + got])
            done += got
        if digest.hexdigest().encode() != words[1]:
            raise _Unfit("it was damaged (its sha256 does not match)")
        return data


def _fill(file: BinaryIO, key: bytes, save: Callable[[BinaryIO], object]) -> None:
    file.write(b" " * _HEADER + key)
    save(file)
    size = file.seek(0, os.SEEK_END) - _HEADER - len(key)
    file.seek(_HEADER)
    digest = hashlib.sha256()
    while piece := file.read(_PIECE):
        digest.update(piece)
    file.seek(0)
    file.write(f"{_MAGIC} {digest.hexdigest()} {len(key)} {size}".ljust(_HEADER - 1).encode() + b"\n")
    file.flush()


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _note(text: str) -> None:
    if text not in _told:
        _told.add(text)
        log.warning("%s", text)
