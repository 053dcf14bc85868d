"""DiffHarmony's engines and the loop over them: composite and mask at network size in, harmonized picture out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harmonyrt.common import HarmonyError
from harmonyrt.common.errors import Cancelled
from harmonyrt.runtime.backends import Session, SessionOptions
from harmonyrt.runtime.bundle import Bundle
from harmonyrt.runtime.choices import FASTEST, check_precision
from harmonyrt.runtime.diffusion.buffers import BufferPool, open_buffers
from harmonyrt.runtime.diffusion.noise import NoiseStream
from harmonyrt.runtime.diffusion.schedule import Program, SamplingSchedule
from harmonyrt.runtime.select import Selected, open_best

Progress = Callable[[str, int, int], bool | None]
"""Called before each part of a run with its name (``"encode"``, ``"step"``, ``"decode"``, ``"refine"``), how many parts
are done and how many there are. Returning False cancels the run. On a GPU parts are enqueued without waiting for them,
so progress runs ahead of the computation. Because a callback can stop a run between two parts, parts then run one by
one; without a callback, TensorRT runs them as one CUDA graph from the second run with the same number of steps."""


@dataclass(frozen=True)
class RunOptions:
    """How one picture is harmonized.

    Attributes:
        seed: decides the noise: equal seeds give equal noise on every backend.
        sample: which variation of this seed.
        steps: denoising steps; None for the bundle's default.
        progress: told before each part; None for silence.
    """

    seed: int = 0
    sample: int = 0
    steps: int | None = None
    progress: Progress | None = None


class DiffusionModel:
    """The open engines of one bundle. One model belongs to one thread, like a session.

    Args:
        schedule: of the bundle.
        sessions: by component.
        selected: how each was chosen, by component.
        buffers: where arrays live between the parts; None to choose by the sessions.
    """

    def __init__(
        self,
        schedule: SamplingSchedule,
        sessions: Mapping[str, Session],
        selected: Mapping[str, Selected],
        buffers: BufferPool | None = None,
    ) -> None:
        self.schedule, self.sessions, self.selected = schedule, dict(sessions), dict(selected)
        self.buffers = buffers or open_buffers(schedule, self.sessions)
        asked = getattr(sessions["unet"], "input_type", None)  # TensorRT's sessions, where versions differ
        self._row_type = np.dtype(np.int64) if asked is None else asked("step")

    @classmethod
    def open(
        cls,
        bundle: Bundle,
        backend: str,
        target: str | None,
        options: SessionOptions,
        precision: str | None = None,
    ) -> DiffusionModel:
        """Open every component of a bundle, all by the same rule.

        Args:
            bundle: an open bundle of the family ``"diffharmony"``.
            backend: ``"auto"`` or a backend's name.
            target: only engines of this target; None for any.
            options: threads, device, cache.
            precision: the bundle's own, ``"fastest"`` or None, which are all the same here: a build chooses a precision
                for each component.

        Raises:
            HarmonyError: another precision than the bundle's; a component is missing or cannot run here as asked.
        """
        check_precision(precision)
        if precision not in (None, FASTEST, bundle.manifest.precision):
            raise HarmonyError(
                f"{bundle.path} is of precision {bundle.manifest.precision}, not {precision};"
                f" build one with harmonyrt build diffharmony --precisions {precision}"
            )
        schedule = SamplingSchedule.of(bundle.manifest)
        selected: dict[str, Selected] = {}
        for name in schedule.components:
            engines = tuple(engine for engine in bundle.manifest.engines if engine.component == name)
            if not engines:
                raise HarmonyError(f"{bundle.path} has no engine of its component {name}; build the bundle again")
            part = replace(bundle, manifest=replace(bundle.manifest, engines=engines))
            selected[name] = open_best(part, backend, target, options)
        return cls(schedule, {name: one.session for name, one in selected.items()}, selected)

    def another(self) -> DiffusionModel:
        """Open another model for another thread: the same weights, separate buffers."""
        sessions = {name: session.another() for name, session in self.sessions.items()}
        return DiffusionModel(self.schedule, sessions, self.selected)

    @property
    def backend(self) -> str:
        """Backend of the UNet, which does nearly all of the work."""
        return self.sessions["unet"].backend

    @property
    def device(self) -> str:
        """Device of the UNet, such as ``"cuda:0"``."""
        return self.sessions["unet"].device

    def run(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        small_image: np.ndarray | None = None,
        small_mask: np.ndarray | None = None,
        options: RunOptions | None = None,
    ) -> np.ndarray:
        """Harmonize one picture at network size.

        Args:
            image: composite (1,3,H,W), float32 in [0, 1], at inference size.
            mask: (1,1,H,W), 0 or 1.
            small_image: composite (1,3,h,w) at output size, resized from the original; only with a refiner.
            small_mask: (1,1,h,w), 0 or 1, at output size.
            options: seed, steps and so on.

        Returns:
            float32 (1,3,h,w) in [0, 1] at output size, before blending.

        Raises:
            HarmonyError: arrays of another size, unknown steps or seed.
            WorkFailed: an engine gave values that are not finite.
            Cancelled: the callback returned False.
        """
        options = options or RunOptions()
        schedule, program = self.schedule, self.schedule.program(options.steps)
        self._check("composite", image, (1, 3, *schedule.inference_size))
        self._check("mask", mask, (1, 1, *schedule.inference_size))
        parts = _Parts(options.progress, program.steps + 2 + bool(schedule.refiner_channels))
        refiner = self._refining(small_image, small_mask)
        given = self._given(program, NoiseStream(options.seed, options.sample), image, mask, refiner)
        last = "refiner" if schedule.refiner_channels else "vae-decoder"
        if options.progress is None:
            latents, result = self.buffers.loop(program.steps, lambda: self._loop(given, parts))
        else:
            latents, result = self._loop(given, parts)
        self.buffers.fetch("unet", latents)  # a clamp in what follows can hide what is not finite
        return self.buffers.fetch(last, result)

    def _given(
        self, program: Program, noise: NoiseStream, image: np.ndarray, mask: np.ndarray, refiner: dict[str, Any]
    ) -> _Given:
        """Copy a run's inputs into the buffers; noise is drawn in the documented order."""
        put, shape = self.buffers.put, self.schedule.latent_shape
        latents = put("latents", noise.normal(shape) * np.float32(program.initial_scale))
        picture = {"image": put("image", image), "mask": put("mask", mask)}
        posterior = put("posterior", noise.normal(shape))
        draws = [put(f"draw {k}", noise.normal(shape)) for k in range(program.steps)]
        rows = [put(f"row {k}", np.array([row], self._row_type)) for k, row in enumerate(program.rows)]
        decoder = {**picture, "noise": put("condition's", noise.normal(shape))} if self.schedule.conditional else {}
        return _Given(latents, {**picture, "noise": posterior}, list(zip(draws, rows, strict=True)), decoder, refiner)

    def _loop(self, given: _Given, parts: _Parts) -> tuple[Any, Any]:
        """Return the last latents and the image. Only calls and copies on the device, so that it can be recorded."""
        buffers, latents = self.buffers, given.latents
        parts.begin("encode")
        condition = buffers.call("vae-encoder", given.encoder, "condition", "condition")
        for k, (draw, row) in enumerate(given.steps):
            parts.begin("step")
            feeds = {"noise": buffers.fixed("noise", draw), "step": buffers.fixed("step", row)}
            feeds |= {"latents": latents, "condition": condition}
            latents = buffers.call("unet", feeds, "next_latents", f"latents {k % 2}")
        parts.begin("decode")
        result = buffers.call("vae-decoder", {"latents": latents, **given.decoder}, "picture", "picture")
        if self.schedule.refiner_channels:
            parts.begin("refine")
            result = buffers.call("refiner", {"image": result, **given.refiner}, "output", "output")
        return latents, result

    def _refining(self, image: np.ndarray | None, mask: np.ndarray | None) -> dict[str, Any]:
        """The refiner's inputs besides stage one's image."""
        feeds = {}
        for name, array, channels, needed in (("mask", mask, 1, 4), ("composite", image, 3, 7)):
            if self.schedule.refiner_channels >= needed:
                self._check(f"refiner's {name}", array, (1, channels, *self.schedule.output_size))
                assert array is not None
                feeds[name] = self.buffers.put(f"refiner's {name}", array)
        return feeds

    @staticmethod
    def _check(what: str, array: np.ndarray | None, shape: tuple[int, ...]) -> None:
        if array is None or array.shape != shape or array.dtype != np.float32:
            found = "nothing" if array is None else f"{array.dtype} of shape {list(array.shape)}"
            raise HarmonyError(f"the {what} should be float32 of shape {list(shape)}, found {found}; fit it first")


@dataclass(frozen=True)
class _Given:
    """A run's inputs, as arrays of the buffer pool.

    Attributes:
        latents: the scaled noise that the first step takes.
        encoder: what the VAE's encoder takes.
        steps: for each step its noise and its row of the step table.
        decoder: what the harmony VAE's decoder takes besides latents.
        refiner: what the refiner takes besides stage one's image.
    """

    latents: Any
    encoder: dict[str, Any]
    steps: list[tuple[Any, Any]]
    decoder: dict[str, Any]
    refiner: dict[str, Any]


class _Parts:
    """Counts the parts of a run and tells the caller."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._done, self._total = progress, 0, total

    def begin(self, name: str) -> None:
        """Say that a part begins; raises :class:`Cancelled` when the caller does not want it."""
        if self._progress is not None and self._progress(name, self._done, self._total) is False:
            part = f"part {self._done + 1} of {self._total} ({name})"
            raise Cancelled(f"the run was cancelled before {part}; start it again when wanted")
        self._done += 1
