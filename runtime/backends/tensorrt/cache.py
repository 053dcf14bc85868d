"""Kernels that TensorRT for RTX compiled on this GPU, kept on disk so that they are compiled once.

TensorRT itself checks what it is given (version, GPU, driver) and refuses what does not fit; it is then filled
again. It does not notice damage; the cache does. Nothing here may stop a run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from harmonyrt.runtime.compiled_cache import CompiledCache


@dataclass
class KernelCache:
    """One engine's kernels on one kind of GPU.

    Attributes:
        cache: where they are kept.
        key: what they depend on.
        error: why the last save failed; None when it did not.
    """

    cache: CompiledCache
    key: dict[str, object]
    error: str | None = None
    _kernels: Any = field(default=None, repr=False)
    _saved: bytes = field(default=b"", repr=False)

    @classmethod
    def choose(cls, folder: str | None, engine_sha256: str, version: str, device: str) -> KernelCache:
        """Those of an engine, a version of TensorRT for RTX and a GPU; `folder` as for `CompiledCache.at`."""
        key: dict[str, object] = {
            "kind": "tensorrt-rtx",
            "files": engine_sha256,
            "library": version,
            "card": device,
        }  # entries on disk have this name
        return cls(CompiledCache.at(folder), key)

    def attach(self, config: Any) -> None:
        """Give a runtime configuration these kernels, what earlier runs kept; a session's contexts share them."""
        if self._kernels is not None:
            config.set_runtime_cache(self._kernels)
            return
        self._kernels = config.create_runtime_cache()
        kept = self.cache.read(self.key)
        if kept is not None:
            blob = kept.tobytes()
            if self._kernels.deserialize(blob):
                self._saved = blob
            else:
                self.cache.remove(self.key)
        config.set_runtime_cache(self._kernels)

    def save(self) -> None:
        """Keep the kernels if there are more of them than before."""
        blob = bytes(self._kernels.serialize()) if self._kernels is not None else b""
        if len(blob) == len(self._saved) or not blob:
            return
        self.error = self.cache.write(self.key, lambda file: file.write(blob))
        self._saved = blob
