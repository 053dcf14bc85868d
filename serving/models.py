"""Opened bundles under the names that clients use."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harmonyrt.common import HarmonyError, OutOfMemory, WorkFailed
from harmonyrt.common.errors import Cancelled
from harmonyrt.runtime.bundle import open_bundle
from harmonyrt.runtime.caller import heard
from harmonyrt.runtime.harmonizer import Harmonizer
from harmonyrt.runtime.manifest import Manifest
from harmonyrt.runtime.trained_sizes import outside_trained_sizes
from harmonyrt.serving.problems import Problem
from harmonyrt.serving.settings import Settings

log = logging.getLogger("harmonyrt.serving")


class Model:
    """One bundle, open. Its calls may come from any thread.

    A session that fails is left by the runtime for a new one. Where the new one fails at the same picture, too, the
    bundle is opened again for those who come next.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        self.name = path.resolve().name
        self.path = path
        self.manifest: Manifest = open_bundle(path).manifest
        self._settings = settings
        self._reopening = threading.Lock()
        self.harmonizer = self._open()
        self.failures = 0
        self.notes = tuple(self._notes())
        if not self.is_diffusion:
            self._warm_up()

    def _warm_up(self) -> None:
        """Work on a picture in every session: their buffers are there before the first request comes."""
        composite, mask = np.full((64, 64, 3), 128, np.uint8), np.zeros((64, 64), np.uint8)
        mask[16:48, 16:48] = 255
        sessions = self.harmonizer.info.sessions
        together = threading.Barrier(sessions)

        def work(_: int) -> None:
            together.wait()
            with heard():
                self.harmonizer.harmonize(composite, mask)

        with ThreadPoolExecutor(sessions) as pool:
            list(pool.map(work, range(sessions)))

    def _open(self) -> Harmonizer:
        settings = self._settings
        return Harmonizer.open(
            self.path,
            backend=settings.backend,
            threads=settings.threads,
            device=settings.device,
            target=settings.target,
            precision=settings.precision,
            provider=settings.provider,
            sessions=settings.sessions,
            megapixel_limit=settings.max_megapixels,
        )

    def _notes(self) -> list[str]:
        info = self.harmonizer.info
        notes = []
        if info.random_weights:
            notes.append("warning: the weights of this bundle are random: its pictures mean nothing")
        if note := outside_trained_sizes(info.config, info.size):
            notes.append(f"note: {self.name}: {note}")
        return notes

    @property
    def is_diffusion(self) -> bool:
        """Whether it takes a seed and steps, and seconds to minutes."""
        return self.manifest.model.family == "diffharmony"

    def run(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of the Harmonizer, once more on another session if one fails.

        Raises:
            HarmonyError: as the method does.
        """
        for last in (False, True):
            harmonizer = self.harmonizer
            try:
                return getattr(harmonizer, method)(*arguments, **options)
            except (Cancelled, OutOfMemory, MemoryError):
                raise
            except Exception as error:
                if isinstance(error, HarmonyError) and not isinstance(error, WorkFailed):
                    raise
                self.failures += 1
                log.warning("%s: a session failed and is replaced (%s: %s)", self.name, type(error).__name__, error)
                if last:
                    self._reopen(harmonizer)
                    raise
        raise AssertionError("the loop returns or raises")

    def _reopen(self, failed: Harmonizer) -> None:
        with self._reopening:
            if self.harmonizer is not failed:
                return
            try:
                self.harmonizer = self._open()
            except HarmonyError as error:
                log.error("%s cannot be opened again (%s)", self.name, error)

    def close(self) -> None:
        """Give the engine back, once its calls have ended."""
        self.harmonizer.close()


@dataclass(frozen=True)
class Models:
    """Models by name; the first one is the default."""

    by_name: dict[str, Model]

    @classmethod
    def open(cls, settings: Settings) -> Models:
        """Open every bundle of the settings.

        Raises:
            HarmonyError: one cannot be opened, or two have one name.
        """
        found: dict[str, Model] = {}
        try:
            for path in settings.bundles:
                model = Model(path, settings)
                if model.name in found:
                    raise HarmonyError(f"two bundles are named {model.name}; rename the folder of one of them")
                found[model.name] = model
        except BaseException:
            for model in found.values():
                model.close()
            raise
        return cls(found)

    def named(self, name: str | None) -> Model:
        """A model by its name; the default one for None.

        Raises:
            Problem: 404.
        """
        if name is None:
            return next(iter(self.by_name.values()))
        if name not in self.by_name:
            raise Problem(404, f"there is no model {name[:80]!r}; give one of {', '.join(self.by_name)}")
        return self.by_name[name]

    def close(self) -> None:
        """Give every engine back."""
        for model in self.by_name.values():
            model.close()
