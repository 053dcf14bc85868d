"""Pairs from a table: CSV or Parquet, with the columns composite and mask, or cutout, background and placement.

The table is read twice. The first time only the columns that name a row are read, to count and to find doubles, in a
few bytes a row; the second time as the rows are needed. So a manifest of any length fits.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from harmonyrt.common import HarmonyError
from harmonyrt.common.errors import require
from harmonyrt.fleet import stores
from harmonyrt.fleet.rows import Doubles, Pairs, Piece, Row
from harmonyrt.runtime.images.pairs import own_name

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".parquet")
FOR_PAIRS = ("composite", "mask")
FOR_CUTOUTS = ("cutout", "background", "placement")
_NAMES = ("id", *FOR_PAIRS, *FOR_CUTOUTS)
_BATCH = 4096


def is_table(path: str) -> bool:
    """Whether a name is that of a table."""
    return path.lower().split("?", 1)[0].endswith(SUFFIXES)


def table_pairs(path: str, suffix: str | None) -> Pairs:
    """The pairs of a table. Relative names in it are below its own folder.

    Args:
        path: ``.csv`` or ``.parquet``, anywhere.
        suffix: of all outputs; None keeps the composites' own.

    Raises:
        HarmonyError: no table that can be read, columns that are missing, or two rows with one id.
    """
    require("pyarrow", "fleet", "reading tables of pairs")
    shown = stores.without_secrets(path)
    columns = _columns(path)
    if not ("composite" in columns or {"cutout", "background"} <= set(columns)):
        raise HarmonyError(
            f"{shown} has the columns {', '.join(columns)}; it needs composite and mask, or cutout and background"
        )
    more = tuple(column for column in columns if column not in _NAMES)
    ids, outputs, count = Doubles(), Doubles(), 0
    for count, values in enumerate(_values(path, [c for c in columns if c in _NAMES]), 1):
        if ids.add(_identity(values)):
            what = f"the id {values['id']}" if values.get("id") else f"the pair {_subject(values)}"
            raise HarmonyError(f"{shown} has {what} twice (row {count}); remove one, or give each row an id of its own")
        outputs.add(_plain_output(values, suffix))
    if not count:
        raise HarmonyError(f"{shown} has no rows; give a table with a row for each pair")
    ids.settle()
    outputs.settle()
    base = stores.parent(path) if stores.is_remote(path) else os.path.abspath(stores.parent(path))

    def rows() -> Iterator[Row]:
        for number, values in enumerate(_values(path, None), 1):
            yield _row(values, number, base, more, suffix, outputs)

    return Pairs(count, (), more, rows)


def _identity(values: dict[str, Any]) -> str:
    return str(values["id"]) if values.get("id") else "\0".join(str(values.get(name) or "") for name in _NAMES)


def _subject(values: dict[str, Any]) -> str:
    return str(values.get("composite") or values.get("cutout") or "")


def _plain_output(values: dict[str, Any], suffix: str | None) -> str:
    """The composite's name; a cut-out's becomes that of its background's format, which the composite has."""
    if values.get("composite"):
        return own_name(_name(str(values["composite"])), suffix)
    kind = own_name(_name(str(values.get("background") or "")), suffix)
    return f"{_name(str(values.get('cutout') or '')).stem}{PurePosixPath(kind).suffix}"


def _name(path: str) -> PurePosixPath:
    return PurePosixPath(path.split("?", 1)[0] if stores.is_remote(path) else path)


def _row(
    values: dict[str, Any], number: int, base: str, more: tuple[str, ...], suffix: str | None, outputs: Doubles
) -> Row:
    output = outputs.told_apart(_plain_output(values, suffix), _identity(values))
    names = {key: _piece(str(values[key]), base) for key in _NAMES[1:5] if values.get(key)}
    subject = names.get("composite") or names.get("cutout")
    problem = ""
    if subject is None:
        problem = f"row {number} names neither a composite nor a cut-out; fill its columns"
    elif "composite" not in names and "background" not in names:
        problem = f"row {number} has the cut-out {subject} and no background; fill its column"
    identity = str(values["id"]) if values.get("id") else output
    return Row(
        identity,
        output,
        subject or Piece(""),
        names.get("mask"),
        None if "composite" in names else names.get("background"),
        str(values.get("placement") or ""),
        problem,
        {column: values[column] for column in more},
    )


def _piece(path: str, base: str) -> Piece:
    if stores.is_remote(path):
        return Piece(path)
    return Piece(stores.joined(base, path) if stores.is_remote(base) else os.path.join(base, path))


def _columns(path: str) -> list[str]:
    with _reader(path, None) as (columns, _):
        return columns


def _values(path: str, columns: list[str] | None) -> Iterator[dict[str, Any]]:
    with _reader(path, columns) as (_, batches):
        for batch in batches:
            yield from batch.to_pylist()


@contextlib.contextmanager
def _reader(path: str, columns: list[str] | None) -> Iterator[tuple[list[str], Iterator[Any]]]:
    """A table's columns, and its batches of some of them; None for all."""
    import pyarrow as pa

    shown = stores.without_secrets(path)
    with tempfile.TemporaryDirectory() as folder, stores.local_copy(path, folder) as local:
        try:
            opened = _parquet(local, columns) if path.lower().endswith(".parquet") else _csv(local, path, columns)
            with opened as found:
                yield found
        except (pa.ArrowInvalid, pa.ArrowKeyError, pa.ArrowTypeError) as error:
            raise HarmonyError(f"{shown} is no table that can be read ({' '.join(str(error).split())})") from None


@contextlib.contextmanager
def _parquet(local: Path, columns: list[str] | None) -> Iterator[tuple[list[str], Iterator[Any]]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(local) as file:
        yield list(file.schema_arrow.names), file.iter_batches(_BATCH, columns=columns)


@contextlib.contextmanager
def _csv(local: Path, path: str, columns: list[str] | None) -> Iterator[tuple[list[str], Iterator[Any]]]:
    """All columns as text: a type that fits the first rows may not fit the last one."""
    import pyarrow as pa
    from pyarrow import csv

    parse = csv.ParseOptions(delimiter="\t" if path.lower().endswith(".tsv") else ",", newlines_in_values=True)
    compression = "gzip" if path.lower().endswith(".gz") else None
    with (
        pa.input_stream(str(local), compression=compression) as stream,
        csv.open_csv(stream, parse_options=parse) as head,
    ):
        names = list(head.schema.names)
    convert = csv.ConvertOptions(
        column_types={name: pa.string() for name in names},
        include_columns=columns or names,
        strings_can_be_null=True,
        null_values=[""],
    )
    with (
        pa.input_stream(str(local), compression=compression) as stream,
        csv.open_csv(stream, parse_options=parse, convert_options=convert) as reader,
    ):
        yield names, iter(reader)
