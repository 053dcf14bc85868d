"""Pairs from WebDataset shards: tar files whose members share a key, ``KEY.composite.png`` and ``KEY.mask.png``.

Only the headers are read here; a worker reads the bytes of its members alone.
"""

from __future__ import annotations

import fnmatch
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.fleet import stores
from harmonyrt.fleet.rows import Doubles, Pairs, Piece, Row
from harmonyrt.runtime.images.pairs import SUFFIXES, own_name

_MOST_TEXT = 1 << 16


def is_shards(path: str) -> bool:
    """Whether a name is that of shards."""
    return path.lower().split("?", 1)[0].endswith(".tar")


def shard_pairs(pattern: str, suffix: str | None) -> Pairs:
    """The pairs of some shards.

    Args:
        pattern: one shard, ``part-{000..127}.tar``, or ``part-*.tar`` where the place can be listed.
        suffix: of all outputs; None keeps the composites' own.

    Raises:
        HarmonyError: no shard, one that is no tar file, or two pairs with one key in a shard.
    """
    shards = [shard if stores.is_remote(shard) else str(Path(shard).absolute()) for shard in _expanded(pattern)]
    if not shards:
        raise HarmonyError(f"no file is named {stores.without_secrets(pattern)}; check the name")
    ids, outputs, count = Doubles(), Doubles(), 0
    for shard in shards:
        for key, members in _groups(shard):
            count += 1
            if ids.add(_identity(shard, key)):
                raise HarmonyError(f"{stores.without_secrets(shard)} has the key {key} twice; pack it again")
            outputs.add(_plain_output(key, members, suffix))
    if not count:
        raise HarmonyError(
            f"{stores.without_secrets(pattern)} holds no pictures; pack KEY.composite.png and KEY.mask.png"
        )
    ids.settle()
    outputs.settle()

    def rows() -> Iterator[Row]:
        for shard in shards:
            for key, members in _groups(shard):
                yield _row(shard, key, members, suffix, outputs)

    return Pairs(count, (), (), rows)


def _identity(shard: str, key: str) -> str:
    return f"{PurePosixPath(shard).stem}/{key}"


def _plain_output(key: str, members: dict[str, Piece], suffix: str | None) -> str:
    seen = members.get("composite") or members.get("background")
    kind = own_name(PurePosixPath(seen.name if seen else "x.png"), suffix)
    return f"{PurePosixPath(key).name}{PurePosixPath(kind).suffix}"


def _row(shard: str, key: str, members: dict[str, Piece], suffix: str | None, outputs: Doubles) -> Row:
    identity = _identity(shard, key)
    output = outputs.told_apart(_plain_output(key, members, suffix), identity)
    subject = members.get("composite") or members.get("cutout")
    problem = ""
    if subject is None:
        problem = f"{identity} has no member .composite; pack it again"
    elif "composite" not in members and "background" not in members:
        problem = f"{identity} has a cut-out and no background; pack it again"
    background = None if "composite" in members else members.get("background")
    return Row(identity, output, subject or Piece(shard), members.get("mask"), background, "", problem)


def _groups(shard: str) -> Iterator[tuple[str, dict[str, Piece]]]:
    """Members that follow each other with one key, by their field: composite, mask, cutout, background."""
    current, members = None, {}
    shown = stores.without_secrets(shard)
    try:
        with stores.opened(shard) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                folder, _, name = member.name.rpartition("/")
                stem, _, ending = name.partition(".")
                if not member.isfile() or not stem or f".{ending.rpartition('.')[2]}".lower() not in SUFFIXES:
                    continue
                key = f"{folder}/{stem}" if folder else stem
                if key != current and current is not None and members:
                    yield current, members
                    members = {}
                current = key
                field = ending.rpartition(".")[0].lower() or "composite"
                members[field] = Piece(shard, member.offset_data, member.size, member.name)
    except tarfile.TarError as error:
        raise HarmonyError(f"{shown} is no tar file that can be read ({error}); pack it again") from None
    except OSError as error:
        raise WorkFailed(f"{shown} cannot be read ({stores.without_secrets(str(error))}); run again") from None
    if current is not None and members:
        yield current, members


def _expanded(pattern: str) -> list[str]:
    found = re.search(r"\{(\d+)\.\.(\d+)\}", pattern)
    if found is not None:
        first, last = found[1], found[2]
        numbers = range(int(first), int(last) + 1)
        return [pattern[: found.start()] + str(n).zfill(len(first)) + pattern[found.end() :] for n in numbers]
    if "*" not in pattern:
        return [pattern]
    folder, _, wanted = pattern.rpartition("/")
    listed = stores.names(folder or ".")
    return [
        stores.joined(folder or ".", name)
        for name, is_folder in listed
        if not is_folder and fnmatch.fnmatch(name, wanted)
    ]
