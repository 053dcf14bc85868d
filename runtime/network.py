"""The networks of a bundle behind one question: fitted pictures in, the network's pictures out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.runtime.backends import Session, SessionOptions
from harmonyrt.runtime.bundle import Bundle
from harmonyrt.runtime.fit import Fitted, engine_size, fit
from harmonyrt.runtime.manifest import Manifest
from harmonyrt.runtime.pools import Pool
from harmonyrt.runtime.select import Selected, open_best

if TYPE_CHECKING:
    from harmonyrt.runtime.diffusion import DiffusionModel
    from harmonyrt.runtime.kernels.on_device import OnDevice

_LARGEST_BATCH = 8  # pictures per call of an engine that takes any number: more costs memory and gains nothing


@dataclass(frozen=True)
class Prepared:
    """One picture, ready for its network.

    Attributes:
        fitted: at the size of the network's output; what the edit is measured against.
        feeds: the network's inputs by name, without the batch axis.
    """

    fitted: Fitted
    feeds: dict[str, np.ndarray]


class Network(Protocol):
    """The open engines of a bundle, with the buffers of one thread."""

    selected: Selected

    def prepare(self, composite: np.ndarray, mask: np.ndarray, pool: Pool) -> Prepared:
        """Fit a composite and its mask to the network's size."""
        ...

    def run(self, pictures: Sequence[Prepared], options: Any = None) -> list[np.ndarray]:
        """The network's picture for each, 3 x height x width float32, before blending."""
        ...

    def another(self) -> Network:
        """Open another network for another thread: the same weights, separate buffers."""
        ...


def open_network(
    bundle: Bundle, backend: str, target: str | None, options: SessionOptions, precision: str | None = None
) -> Network:
    """Open what a bundle holds, by its family. Arguments as :func:`harmonyrt.runtime.select.open_best` takes them.

    Raises:
        HarmonyError: a family that this runtime does not know, or an engine that cannot run here as asked.
    """
    family = bundle.manifest.model.family
    if family == "phnet":
        return FeedForward(bundle.manifest, open_best(bundle, backend, target, options, precision), options.cache)
    if family == "diffharmony":
        from harmonyrt.runtime.diffusion import DiffusionModel

        return Diffusion(DiffusionModel.open(bundle, backend, target, options, precision))
    raise HarmonyError(f"{bundle.path} holds the model {family!r}, this runtime knows phnet and diffharmony; update it")


class FeedForward:
    """One engine that takes `image` and `mask` and answers `output` (PHNet)."""

    def __init__(self, manifest: Manifest, selected: Selected, cache: str | None = None) -> None:
        self._manifest, self.selected, self._cache = manifest, selected, cache
        self._on_device: OnDevice | None = None

    @property
    def session(self) -> Session:
        """The open session of the network's engine."""
        return self.selected.session

    def another(self) -> FeedForward:
        """Open another network for another thread."""
        return FeedForward(self._manifest, replace(self.selected, session=self.session.another()), self._cache)

    def on_device(self, stream: int) -> OnDevice:
        """The kernels that work around the engine on its GPU, loaded when first asked for.

        Args:
            stream: where they will work: loading would break a recording.

        Raises:
            HarmonyError: no engine on a GPU, nothing there to compile the kernels with, or a recording.
        """
        if self._on_device is None:
            from harmonyrt.runtime.backends import cuda
            from harmonyrt.runtime.kernels.on_device import NOT_RECORDABLE, OnDevice

            session: Any = self.session
            if not hasattr(session, "run_on_device"):
                raise HarmonyError(
                    "pictures in device memory need an engine on a GPU, and this one runs on"
                    f" {session.device} with {session.backend}: open the bundle with device='cuda', or give"
                    " harmonize() host arrays"
                )
            if self._manifest.batch not in (None, 1):
                raise HarmonyError(
                    f"pictures in device memory need an engine of batch 1, this one has {self._manifest.batch}: build"
                    " one, or give harmonize_batch() host arrays"
                )
            if stream != cuda.LEGACY_STREAM and cuda.open_cuda().is_capturing(stream):
                raise HarmonyError(NOT_RECORDABLE)
            self._on_device = OnDevice(session, self._manifest.binary_mask, self._cache)
        return self._on_device

    def prepare(self, composite: np.ndarray, mask: np.ndarray, pool: Pool) -> Prepared:
        """Fit one picture to the engine's size. Any thread may, at any time."""
        size = engine_size(self._manifest, *mask.shape)
        fitted = fit(composite, mask, size, self._manifest.binary_mask, pool)
        return Prepared(fitted, {"image": fitted.image, "mask": fitted.network_mask[None]})

    def run(self, pictures: Sequence[Prepared], options: Any = None) -> list[np.ndarray]:
        """Run pictures of any sizes; those of one size share calls where the engine takes a batch."""
        if options is not None:
            raise HarmonyError("run options (seed, steps) are for DiffHarmony bundles; leave them out for PHNet")
        results: list[np.ndarray] = [np.empty(0)] * len(pictures)
        by_size: dict[tuple[int, ...], list[int]] = {}
        for i, picture in enumerate(pictures):
            by_size.setdefault(picture.fitted.mask.shape, []).append(i)
        for indices in by_size.values():
            at_once = self._manifest.batch or min(_LARGEST_BATCH, len(indices))
            for start in range(0, len(indices), at_once):
                chunk = indices[start : start + at_once]
                for i, output in zip(chunk, self._call([pictures[i] for i in chunk]), strict=True):
                    results[i] = output
        return results

    def _call(self, pictures: Sequence[Prepared]) -> np.ndarray:
        batch = self._manifest.batch or len(pictures)
        padded = [*pictures, *[pictures[-1]] * (batch - len(pictures))]  # an engine of a fixed batch is fed whole
        feeds = {
            name: padded[0].feeds[name][None] if batch == 1 else np.stack([p.feeds[name] for p in padded])
            for name in ("image", "mask")
        }
        output = self.session.run(feeds)["output"][: len(pictures)]
        if not np.isfinite(output).all():
            raise WorkFailed(
                f"the {self.selected.choice.engine.precision} engine gave values that are not finite on"
                f" {self.session.backend}; use a bundle of another precision"
            )
        return output


class Diffusion:
    """DiffHarmony's loop: fitted twice where its refiner works at another size than its UNet (as released: smaller)."""

    def __init__(self, model: DiffusionModel) -> None:
        self._model = model
        self.selected = model.selected["unet"]

    def another(self) -> Diffusion:
        """Open another network for another thread."""
        return Diffusion(self._model.another())

    def prepare(self, composite: np.ndarray, mask: np.ndarray, pool: Pool) -> Prepared:
        """Fit one picture to the loop's size and to the refiner's. Any thread may, at any time."""
        schedule = self._model.schedule
        inside = fit(composite, mask, schedule.inference_size, True, pool)
        fitted = inside
        if schedule.output_size != schedule.inference_size:
            fitted = fit(composite, mask, schedule.output_size, True, pool)
        feeds = {"image": inside.image, "mask": inside.network_mask[None]}
        feeds |= {"small_image": fitted.image, "small_mask": fitted.network_mask[None]}
        return Prepared(fitted, feeds)

    def run(self, pictures: Sequence[Prepared], options: Any = None) -> list[np.ndarray]:
        """Run pictures one after the other, each with the same options."""
        return [
            self._model.run(**{name: array[None] for name, array in picture.feeds.items()}, options=options)[0]
            for picture in pictures
        ]
