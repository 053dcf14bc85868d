"""Kernels that TensorRT for RTX compiled on this card, kept on disk so that they are compiled once.

TensorRT itself checks a cache (version, card, driver) and refuses one that does not fit; it is then filled anew.
Nothing here may stop a run: a folder that cannot be written only costs the next start its time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harmonyrt.common import HarmonyError
from harmonyrt.common.files import written_whole


@dataclass
class RuntimeCacheFile:
    """One engine's cache on one kind of card.

    Attributes:
        path: where it is kept.
        error: why the last save failed; None when it did not.
    """

    path: Path
    error: str | None = None
    _cache: Any = field(default=None, repr=False)
    _saved: bytes = field(default=b"", repr=False)

    @classmethod
    def choose(cls, folder: str | None, engine_sha256: str, card: str) -> RuntimeCacheFile:
        """The file for an engine and a card: in `folder`, or in the user's cache folder."""
        if folder is None:
            home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
            root = Path(home) / "harmonyrt" / "tensorrt-rtx"
        else:
            root = Path(folder)
        name = hashlib.sha256(f"{engine_sha256} {card}".encode()).hexdigest()[:16]
        return cls(root / f"{name}.kernels")

    def attach(self, config: Any) -> None:
        """Give a runtime configuration this cache, filled with what earlier runs kept."""
        self._cache = config.create_runtime_cache()
        with contextlib.suppress(OSError):
            blob = self.path.read_bytes()
            if self._cache.deserialize(blob):
                self._saved = blob
        config.set_runtime_cache(self._cache)

    def save(self) -> None:
        """Write the cache if it has grown; whole or not at all, since other processes may write it too."""
        blob = bytes(self._cache.serialize()) if self._cache is not None else b""
        if len(blob) == len(self._saved) or not blob:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(self.path) as scratch:
                scratch.write_bytes(blob)
        except (OSError, HarmonyError) as error:
            self.error = str(error)
        self._saved = blob
