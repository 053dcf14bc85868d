"""What became of a pair: its status, what was wrong with it, hashes, and where the time went."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from harmonyrt.fleet.rows import fingerprint

STAGES = ("read", "wait", "decode", "harmonize", "encode", "write")
OK, BAD_INPUT, FAILED = "ok", "bad input", "failed"
"""Status of a pair: done; not to be done until its files are mended; the work itself failed, and may go well again."""


@dataclass
class Result:
    """What became of a pair: a row of ``results/*.parquet``, without the table's other columns.

    Attributes:
        id: the pair's.
        status: one of :data:`OK`, :data:`BAD_INPUT`, :data:`FAILED`.
        sentence: what was wrong, or remarks about what was done.
        composite, mask, background: where they lie, without credentials; a cut-out counts as the composite.
        output: file name below the output's prefix; empty if there is none.
        seconds: by stage, of :data:`STAGES`.
        first: the first one of its worker, whose engine was not warm. Not written.
        kept: an earlier run did it, inputs and output are as they were, and its result stands. Not written.
    """

    id: str
    status: str = OK
    sentence: str = ""
    composite: str = ""
    composite_sha256: str = ""
    mask: str = ""
    mask_sha256: str = ""
    background: str = ""
    background_sha256: str = ""
    placement: str = ""
    output: str = ""
    output_sha256: str = ""
    bundle_sha256: str = ""
    settings_sha256: str = ""
    width: int = 0
    height: int = 0
    machine: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    kept: bool = False
    first: bool = False

    @property
    def fingerprint(self) -> bytes:
        """What the output was made from; with `output` set."""
        return fingerprint(self.composite_sha256, self.mask_sha256, self.background_sha256, self.placement, self.output)
