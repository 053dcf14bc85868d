"""``results/*.parquet``: one row for each pair, whatever happened; written in parts, read again to resume.

At any moment a pair has at most one row: a row that is to be replaced goes first, and its successor comes with the next
part. Parts appear whole. What was not written when a run died is done again, with equal bytes.
"""

from __future__ import annotations

import dataclasses
import io
import secrets
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from harmonyrt.common import HarmonyError
from harmonyrt.common.errors import require
from harmonyrt.fleet import stores
from harmonyrt.fleet.outcomes import OK, STAGES, Result
from harmonyrt.fleet.rows import fingerprint, short_hash

FOLDER = "results"
ROWS, SECONDS = 4096, 60.0
"""A part is written when it has so many rows, or when its first row is so old."""
_TEXTS = tuple(
    f.name for f in dataclasses.fields(Result) if f.name not in ("width", "height", "seconds", "more", "kept", "first")
)
_OWN = (*_TEXTS, "width", "height", *(f"{stage}_seconds" for stage in STAGES))


class Results:
    """Writes the parts of a run; use it as a context manager, so that the last one is written however the run ends."""

    def __init__(self, out: str, columns: Sequence[str], earlier: Earlier | None = None) -> None:
        require("pyarrow", "fleet", "writing results")
        self._prefix = stores.joined(out, FOLDER)
        self._more = [(column, f"pair_{column}" if column in _OWN else column) for column in columns]
        seconds, rest = divmod(time.time_ns(), 10**9)  # by microseconds: names are in the order of runs
        self._run = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(seconds))}{rest // 1000:06d}-{secrets.token_hex(3)}"
        self._earlier, self._parts = earlier, 0
        self._rows: list[Result] = []
        self._since = time.monotonic()

    def add(self, result: Result) -> None:
        """Take a result; its part is written sooner or later."""
        if not self._rows:
            self._since = time.monotonic()
        self._rows.append(result)
        if len(self._rows) >= ROWS or time.monotonic() - self._since > SECONDS:
            self.write()

    def write(self) -> None:
        """Write what has come since the last part."""
        if not self._rows:
            return
        if self._earlier is not None:
            self._earlier.drop({row.id for row in self._rows})
        name = f"part-{self._run}-{self._parts:06d}.parquet"
        stores.write(stores.joined(self._prefix, name), _encoded(self._table()))
        self._parts += 1
        self._rows = []

    def _table(self) -> Any:
        import pyarrow as pa

        columns: dict[str, Any] = {
            name: pa.array([getattr(r, name) for r in self._rows], pa.string()) for name in _TEXTS
        }
        for name in ("width", "height"):
            columns[name] = pa.array([getattr(r, name) for r in self._rows], pa.int32())
        for stage in STAGES:
            columns[f"{stage}_seconds"] = pa.array([r.seconds.get(stage, 0.0) for r in self._rows], pa.float32())
        for column, name in self._more:
            columns[name] = pa.array([r.more.get(column) for r in self._rows])
        return pa.table(columns)

    def __enter__(self) -> Results:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.write()


def _encoded(table: Any) -> bytes:
    import pyarrow.parquet as pq

    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd")
    return stream.getvalue()


def parts(out: str) -> list[str]:
    """Paths of all parts, the oldest first; not the scratch files of a driver that was killed."""
    prefix = stores.joined(out, FOLDER)
    names = [name for name, is_folder in stores.names(prefix) if not is_folder]
    return [stores.joined(prefix, n) for n in names if n.endswith(".parquet") and not n.startswith(".")]


def read_part(path: str) -> Any:
    """A part as a pyarrow table.

    Raises:
        HarmonyError: it is damaged.
    """
    pq = require("pyarrow.parquet", "fleet", "reading results")
    import pyarrow as pa

    try:
        return pq.read_table(io.BytesIO(stores.read(path)))
    except (pa.ArrowInvalid, OSError) as error:
        shown = stores.without_secrets(path)
        raise HarmonyError(f"{shown} is damaged ({error}); remove it, its pairs are then done again") from None


def read_results(out: str) -> Iterator[dict[str, Any]]:
    """Every row of every part."""
    for path in parts(out):
        yield from read_part(path).to_pylist()


class Earlier:
    """What earlier runs did, in some 60 bytes a pair. Rows that do not count are dropped from their parts right away.

    Args:
        out: the outputs' prefix.
        bundle_sha256: rows of other bundles do not count,
        settings_sha256: nor those of other settings, nor what did not succeed.
    """

    def __init__(self, out: str, bundle_sha256: str, settings_sha256: str) -> None:
        self._parts = parts(out)
        keys: list[int] = []
        prints, outputs, places = bytearray(), bytearray(), []
        seen: set[int] = set()
        for place in range(len(self._parts) - 1, -1, -1):  # the newest first: its rows count
            table = read_part(self._parts[place])
            wanted = []
            for row in table.select(
                [
                    "id",
                    "status",
                    "bundle_sha256",
                    "settings_sha256",
                    "composite_sha256",
                    "mask_sha256",
                    "background_sha256",
                    "placement",
                    "output",
                    "output_sha256",
                ]
            ).to_pylist():
                key = short_hash(row["id"])
                counts = (
                    row["status"] == OK
                    and row["bundle_sha256"] == bundle_sha256
                    and row["settings_sha256"] == settings_sha256
                    and key not in seen
                )
                wanted.append(counts)
                if counts:
                    seen.add(key)
                    keys.append(key)
                    prints += fingerprint(
                        row["composite_sha256"],
                        row["mask_sha256"],
                        row["background_sha256"],
                        row["placement"],
                        row["output"],
                    )
                    outputs += bytes.fromhex(row["output_sha256"])
                    places.append(place)
            _keep(self._parts[place], table, wanted)
        order = np.argsort(np.array(keys, np.uint64), kind="stable")
        self._keys = np.array(keys, np.uint64)[order]
        self._prints = np.frombuffer(bytes(prints), "V16")[order] if keys else np.zeros(0, "V16")
        self._outputs = np.frombuffer(bytes(outputs), "V32")[order] if keys else np.zeros(0, "V32")
        self._places = np.array(places, np.int32)[order]

    def __len__(self) -> int:
        return len(self._keys)

    def of(self, identity: str) -> tuple[bytes, bytes] | None:
        """Fingerprint and output hash of a pair that was done; None for others."""
        index = self._index(identity)
        return None if index is None else (self._prints[index].tobytes(), self._outputs[index].tobytes())

    def drop(self, identities: set[str]) -> None:
        """Remove the rows of some pairs, which are about to get new ones."""
        found = [index for index in map(self._index, identities) if index is not None and self._places[index] >= 0]
        for place in sorted({int(self._places[index]) for index in found}):
            table = read_part(self._parts[place])
            _keep(self._parts[place], table, [row not in identities for row in table.column("id").to_pylist()])
        for index in found:
            self._places[index] = -1

    def _index(self, identity: str) -> int | None:
        key = np.uint64(short_hash(identity))
        index = int(np.searchsorted(self._keys, key))
        return index if index < len(self._keys) and self._keys[index] == key else None


def _keep(path: str, table: Any, wanted: list[bool]) -> None:
    """Write a part again without the rows that are not wanted; not at all where none is left."""
    if all(wanted):
        return
    if not any(wanted):
        stores.remove(path)
        return
    import pyarrow as pa

    stores.write(path, _encoded(table.filter(pa.array(wanted))))
