"""A pair on its way: what is read, under which name the result goes out, and what came with it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from harmonyrt.fleet import stores


@dataclass(frozen=True, slots=True)
class Piece:
    """Where bytes lie: a file, or a part of one (a member of a shard), from `offset` on."""

    path: str
    offset: int = -1
    size: int = -1
    name: str = ""

    def read(self) -> bytes:
        """The bytes."""
        return stores.read(self.path, self.offset, self.size)

    def __str__(self) -> str:
        shown = stores.without_secrets(self.path)
        return f"{shown}/{self.name}" if self.name else shown


@dataclass(frozen=True, slots=True)
class Row:
    """One pair.

    Attributes:
        id: unlike all others of the run.
        output: file name below the output's prefix.
        composite: the composite, or the cut-out where there is a background.
        mask: None for the composite's own alpha, or for a cut-out.
        background: what the cut-out goes on.
        placement: ``x,y`` or ``x,y,scale``, of the cut-out.
        problem: why it cannot be harmonized, where that is known already.
        more: the table's other columns.
        earlier: what an earlier run found and wrote for this pair: :func:`fingerprint` and the output's sha256.
    """

    id: str
    output: str
    composite: Piece
    mask: Piece | None = None
    background: Piece | None = None
    placement: str = ""
    problem: str = ""
    more: dict[str, Any] = field(default_factory=dict)
    earlier: tuple[bytes, bytes] | None = None


def short_hash(text: str) -> int:
    """64 bits of a hash, for sets of many texts."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def fingerprint(*parts: str) -> bytes:
    """128 bits of a hash of what an output was made from, and of its name."""
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Doubles:
    """Finds texts that occur more than once, in 64 bits each."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._double: set[int] = set()

    def add(self, text: str) -> bool:
        """Add a text; whether it was there."""
        key = short_hash(text)
        if key in self._seen:
            self._double.add(key)
            return True
        self._seen.add(key)
        return False

    def has(self, text: str) -> bool:
        """Whether a text was added more than once."""
        return short_hash(text) in self._double

    def told_apart(self, output: str, identity: str) -> str:
        """The name itself where it occurs once; otherwise with a hash of what the row is, wherever it stands."""
        if not self.has(output):
            return output
        name = PurePosixPath(output)
        return f"{name.stem}-{short_hash(identity):016x}{name.suffix}"

    def settle(self) -> None:
        """No more will be added: forget what occurred once."""
        self._seen.clear()


@dataclass(frozen=True)
class Pairs:
    """A list of pairs that is read as it is needed.

    Attributes:
        count: rows in all.
        remarks: notes and warnings for the user.
        columns: names of the table's other columns.
    """

    count: int
    remarks: tuple[str, ...]
    columns: tuple[str, ...]
    _rows: Any

    def rows(self) -> Iterator[Row]:
        """All rows, from the first on, always in the same order."""
        return self._rows()
