"""Pairs from two folders or two prefixes of a store, by the rules of `harmonize`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePath, PurePosixPath

from harmonyrt.common import HarmonyError
from harmonyrt.fleet import stores
from harmonyrt.fleet.rows import Pairs, Piece, Row
from harmonyrt.runtime.images.pairs import Listing, listed, output_names, own_name, paired_listings


def folder_pairs(composites: str, masks: str, suffix: str | None) -> Pairs:
    """Pair `composites` with `masks` by name; both listings are held in memory.

    Args:
        composites: a folder, or a prefix such as ``s3://bucket/composites``.
        masks: likewise.
        suffix: of all outputs; None keeps the composites' own.

    Raises:
        HarmonyError: nothing can be listed, or there is no pair.
    """
    pairing = paired_listings(_listing(composites), _listing(masks), composites, masks)

    def rows() -> Iterator[Row]:
        for pair, output in output_names(pairing, suffix):
            yield Row(pair.composite.name, output, _piece(composites, pair.composite), _piece(masks, pair.mask))
        for path, sentence in pairing.failed:
            yield Row(path.name, own_name(path, suffix), _piece(composites, path), problem=sentence)

    return Pairs(len(pairing.pairs) + len(pairing.failed), tuple(pairing.remarks()), (), rows)


def _listing(prefix: str) -> Listing:
    if not stores.is_remote(prefix):
        if not Path(prefix).is_dir():
            raise HarmonyError(f"{prefix} is not a folder; give two folders, or a table (.csv or .parquet)")
        return listed(Path(prefix))
    entries = stores.names(prefix)
    if not entries:
        raise HarmonyError(f"{stores.without_secrets(prefix)} holds nothing; check the name and who may list it")
    found = Listing()
    for name, is_folder in entries:
        if is_folder:
            found.passed_over.append(
                f"{stores.joined(stores.without_secrets(prefix), name)} is a folder and is not entered"
            )
        elif name.startswith("."):
            found.passed_over.append(f"{stores.joined(stores.without_secrets(prefix), name)} is hidden and passed over")
        else:
            found.files.append(PurePosixPath(name))
    return found


def _piece(prefix: str, path: PurePath) -> Piece:
    return Piece(str(path.absolute()) if isinstance(path, Path) else stores.joined(prefix, str(path)))
