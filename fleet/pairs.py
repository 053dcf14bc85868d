"""PAIRS on the command line: two folders, a table, or WebDataset shards."""

from __future__ import annotations

from harmonyrt.common import HarmonyError
from harmonyrt.fleet.folders import folder_pairs
from harmonyrt.fleet.rows import Pairs
from harmonyrt.fleet.shards import is_shards, shard_pairs
from harmonyrt.fleet.tables import is_table, table_pairs


def open_pairs(given: list[str], suffix: str | None = None) -> Pairs:
    """Find out what pairs there are.

    Args:
        given: one table or pattern of shards, or a folder of composites and one of masks.
        suffix: of all outputs, with its dot; None keeps the composites' own.

    Raises:
        HarmonyError: it is none of these, or cannot be read.
    """
    if len(given) == 2:
        return folder_pairs(given[0], given[1], suffix)
    if is_table(given[0]):
        return table_pairs(given[0], suffix)
    if is_shards(given[0]):
        return shard_pairs(given[0], suffix)
    raise HarmonyError(
        f"{given[0]} is no list of pairs; give a folder of composites and one of masks, a table (.csv or .parquet),"
        " or WebDataset shards (.tar)"
    )
