"""The runtime's face: open a bundle, harmonize pictures of any size."""

from __future__ import annotations

import operator
import os
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.backends import SessionOptions
from harmonyrt.runtime.backends.device_arrays import stream_handle
from harmonyrt.runtime.backends.onnxruntime_providers import check_provider, checked_options
from harmonyrt.runtime.bundle import open_bundle
from harmonyrt.runtime.controls import checked_controls
from harmonyrt.runtime.device_pictures import harmonize_on_device
from harmonyrt.runtime.fit import Fitted, binary, engine_size
from harmonyrt.runtime.harmonized import Harmonized
from harmonyrt.runtime.images.masks import MEGAPIXEL_LIMIT, Label
from harmonyrt.runtime.info import Info, Timings
from harmonyrt.runtime.machine import cores
from harmonyrt.runtime.manifest import Manifest
from harmonyrt.runtime.network import FeedForward, Network, Prepared, open_network
from harmonyrt.runtime.picture_job import Request, finished, prepared_job
from harmonyrt.runtime.pools import Pool
from harmonyrt.runtime.sessions import Sessions
from harmonyrt.runtime.tensors import run_tensors

_MOST_THREADS = 8  # around the engine; the work there is too small for more
_MOST_ASKED = 4096  # threads and sessions, in C++ too; more is a mistake
_SESSIONS = 2  # 1.00 to 1.15 times a plain lock's calls; see benchmarks/results/sharing.json
_WORTH_THREADS = 2_000_000  # pixels; below, handing strips to threads costs more than it saves


class Harmonizer:
    """A bundle, open and ready, for any number of threads at once. Not for forked children: open after the fork.

    A call runs in the thread that makes it. The engine works for as many calls at once as it has sessions; the others
    wait for their turn.

    >>> from harmonyrt.runtime import Harmonizer
    >>> with Harmonizer.open("engines/phnet-128-fp32") as harmonizer:      # doctest: +SKIP
    ...     harmonized = harmonizer.harmonize(composite, mask)
    """

    def __init__(self, manifest: Manifest, network: Network, info: Info, megapixel_limit: float | None) -> None:
        self._manifest, self._network = manifest, network
        self._megapixel_limit = megapixel_limit
        count = min(info.threads or cores(), _MOST_THREADS)
        self._pool = ThreadPoolExecutor(count, "harmonyrt") if count > 1 else None
        self._sessions = Sessions(network, network.another, info.sessions, self._give_back)
        self._last = threading.local()
        self.info = info

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise HarmonyError(
            "a Harmonizer holds an engine and threads, which cannot be copied or sent to another process;"
            " open the bundle there, or share this one between threads"
        )

    @property
    def timings(self) -> Timings:
        """Where the last call that ended in this thread spent its time; zeros before the first one."""
        return getattr(self._last, "timings", Timings())

    @classmethod
    def open(
        cls,
        path: str | os.PathLike,
        backend: str = "auto",
        threads: int | None = None,
        device: str | None = None,
        *,
        sessions: int | None = None,
        target: str | None = None,
        precision: str | None = None,
        cache: str | Path | None = None,
        pin_threads: bool | None = None,
        provider: str | None = None,
        provider_options: Mapping[str, Any] | None = None,
        megapixel_limit: float | None = MEGAPIXEL_LIMIT,
    ) -> Harmonizer:
        """Open a bundle: check its manifest and hashes, choose a backend, load the engine.

        Args:
            path: folder that `harmonyrt build` wrote.
            backend: ``"auto"`` (see :mod:`harmonyrt.runtime.choices` for the order; `info` says what was chosen and
                what was skipped, and why), or ``"onnxruntime"``, ``"openvino"``, ``"tensorrt"``, which then runs or
                raises.
            threads: CPU threads; None for all cores that the process may use.
            device: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``; None for any.
            sessions: how many calls from several threads the engine may work on at once. They share its weights; each
                needs its own memory, and is made when it is first needed. None for 2, and each call has all threads;
                with a number OpenVINO gives each its share of the threads. benchmarks/sharing.py measures it.
            target: only engines of this target, for bundles with several for one backend.
            precision: for bundles with engines of several: only those of this one, or ``"fastest"`` for any. None: any
                but INT8, unless nothing else can run here.
            cache: folder for compiled engines (OpenVINO, TensorRT for RTX); None for ``harmonyrt`` in the user's cache
                folder, ``""`` for none. docs/cache.md has the rules.
            pin_threads: tie CPU threads to cores, where the backend can (OpenVINO). Every process ties its own to the
                first cores, so only the one process of a machine gains from it.
            provider: of ``backend="onnxruntime"`` on a GPU: ``"cuda"`` (None too) or ``"tensorrt"``.
            provider_options: more options of that provider, by ONNX Runtime's names, such as
                ``{"enable_cuda_graph": True}``.
            megapixel_limit: refuse larger pictures; None for no limit.

        Raises:
            HarmonyError: no bundle, a damaged or tampered one, or what was asked for cannot run here.
        """
        threads, sessions = _count("threads", threads, "all cores"), _count("sessions", sessions, "the default")
        check_provider(provider or provider_options, backend)
        bundle = open_bundle(path)
        streams = min(sessions or 1, threads or cores())
        kept = None if cache is None else str(cache)
        asked = checked_options(provider_options)
        options = SessionOptions(threads, device, kept, pin_threads, streams, provider, asked)
        network = open_network(bundle, backend, target, options, precision)
        manifest, selected = bundle.manifest, network.selected
        engine, model = selected.choice.engine, bundle.manifest.model
        info = Info(
            bundle=str(bundle.path),
            model=model.family,
            config=model.config,
            parameters=model.parameters,
            random_weights=model.random_weights,
            target=engine.target,
            precision=engine.precision,
            backend=selected.session.backend,
            device=selected.session.device,
            threads=threads,
            sessions=sessions or _SESSIONS,
            size=manifest.size,
            size_multiple=manifest.size_multiple,
            parity=engine.parity,
            why=selected.why,
            skipped=selected.skipped,
            native=engine.is_native,
        )
        return cls(manifest, network, info, megapixel_limit)

    def harmonize(
        self,
        composite: Any,
        mask: Any,
        *,
        fit_mask: bool = False,
        label: Label | None = None,
        options: Any = None,
        strength: float = 1.0,
        keep: str | None = None,
        match: Any = None,
    ) -> Any:
        """Harmonize one composite, at its own size.

        Args:
            composite: array, height x width x 3 (or 4: alpha is kept), uint8 or uint16, sRGB; PIL image of mode RGB,
                RGBA, L, LA or I;16, whose colour profile counts and whose `info` is kept; or a
                :class:`harmonyrt.runtime.images.pictures.PictureFile`.
            mask: of the same size, foreground = white = 1: bool, uint8 or float array, or PIL image; values between
                blend. See :func:`harmonyrt.runtime.images.masks.read_mask` for all that is accepted.
            fit_mask: resize a mask of another size, instead of refusing it.
            label: one or several values of the mask that are the foreground, of a mask that holds labels.
            options: of the model, for example `harmonyrt.runtime.diffusion.RunOptions`; None for its defaults.
            strength: how much of the change, 0 (the composite) to 1.5; 1 is the network's answer.
            keep: ``"luminance"`` (only the chroma changes), ``"hue"`` (only the luminance changes), or None.
            match: mask of the part of the background to match, white; the network sees no other. None: all of it.
                docs/controls.md explains these three.

        Returns:
            The same type and size as `composite`. Where the mask is 0 its bytes are the composite's.

        Raises:
            HarmonyError: a composite, mask, strength or match that cannot be used.

        Warns:
            HarmonyNote: values of the mask that are not black and white, and how they were understood.
            HarmonyWarning: an empty mask (the composite is returned unchanged), a mask of the whole picture, one that
                looks inverted, or a cut-out without any visible background.
        """
        request = Request(fit_mask, label, options, checked_controls(strength, keep), match)
        return self._all([(composite, mask)], request)[0].picture

    def harmonize_detailed(
        self,
        composite: Any,
        mask: Any,
        *,
        fit_mask: bool = False,
        label: Label | None = None,
        options: Any = None,
        strength: float = 1.0,
        keep: str | None = None,
        match: Any = None,
    ) -> Harmonized:
        """Harmonize one composite, and keep what its layer and its LUT are made of. Arguments as :meth:`harmonize`.

        >>> result = harmonizer.harmonize_detailed(composite, mask)        # doctest: +SKIP
        >>> result.picture, result.layer().picture                         # doctest: +SKIP
        >>> result.lut().write("change.cube")                              # doctest: +SKIP
        """
        request = Request(fit_mask, label, options, checked_controls(strength, keep), match)
        return self._all([(composite, mask)], request)[0]

    def harmonize_batch(
        self,
        composites: Iterable[Any],
        masks: Iterable[Any],
        *,
        fit_mask: bool = False,
        label: Label | None = None,
        options: Any = None,
        strength: float = 1.0,
        keep: str | None = None,
        match: Any = None,
    ) -> list[Any]:
        """Harmonize several composites; sizes and types may differ. Engines that take a batch get them together.

        Args:
            composites: as for :meth:`harmonize`; any iterable, read to its end before the engine runs.
            masks: one for each.
            fit_mask: as for :meth:`harmonize`.
            label: likewise; the same for all.
            options: the same for all.
            strength: likewise.
            keep: likewise.
            match: likewise: of the size of each.

        Raises:
            HarmonyError: another number of masks, or a composite or mask that cannot be used (before the engine runs).
        """
        composites, masks = _several(composites, "composites", 4), _several(masks, "masks", 3)
        if len(composites) != len(masks):
            raise HarmonyError(f"{len(composites)} composites came with {len(masks)} masks; give one mask for each")
        request = Request(fit_mask, label, options, checked_controls(strength, keep), match)
        return [result.picture for result in self._all(list(zip(composites, masks, strict=True)), request)]

    def run_tensor(self, image: Any, mask: Any, out: Any = None, stream: Any = None) -> Any:
        """Run the engine on tensors of its size, without fitting, upsampling or blending.

        NumPy arrays, DLPack tensors (PyTorch, CuPy, JAX) and `__cuda_array_interface__` arrays are taken without a
        copy, on the CPU or on the engine's GPU. The result is of the same library where that reads DLPack
        (``torch.from_dlpack`` and the like), else an object with both protocols. On a GPU the call is ordered on
        `stream` as if it ran there, and does not wait; docs/embedding.md has an example for each library.

        Args:
            image: (N, 3, H, W) float32 in [0, 1], composite.
            mask: (N, 1, H, W) float32, 1 = foreground.
            out: (N, 3, H, W) float32 to write into; None for a new one.
            stream: on a GPU: the caller's CUDA stream (of PyTorch, CuPy, Numba, pycuda, or a handle); None for the
                legacy default one.

        Returns:
            (N, 3, H, W) float32, before blending: ``output * mask + image * (1 - mask)`` is the picture.

        Raises:
            HarmonyError: wrong shape, type or device, or a bundle of several networks.
        """
        with self._sessions.call(), self._sessions.checked_out() as network:
            only = self._one_network(network, "run_tensor")
            return run_tensors(only.session, self._manifest, image, mask, out, stream)

    def harmonize_on_device(
        self,
        composite: Any,
        mask: Any,
        out: Any = None,
        *,
        bgr: bool = False,
        opaque: bool = False,
        space: Any = None,
        strength: float = 1.0,
        stream: Any = None,
        wait: bool = True,
    ) -> Any:
        """Harmonize a picture that lies in the GPU's memory, at its own size; nothing of it goes through the host.

        Fitting, colour maps and application are CUDA kernels, compiled at first use. With an engine of TensorRT of
        fixed shapes, the same arrays again are one launch of a CUDA graph. docs/full_resolution.md, "On a GPU", has the
        rules.

        Args:
            composite: device array (`__cuda_array_interface__` or DLPack), height x width x 3 or 4, uint8 or uint16,
                sRGB. Or (luma, chroma) of NV12 (uint8) or P010
                (uint16): height x width and half of both x 2. Rows may lie apart.
            mask: device array, height x width, uint8, 255 = foreground; values between blend.
            out: of the composite's kind; may be the composite. None for a new one.
            bgr: blue comes first.
            opaque: a promise that a fourth channel hides nothing; it is kept as it is. Composites with transparent
                parts belong to :meth:`harmonize`.
            space: what luma and chroma mean, as :func:`harmonyrt.video.colours.colour_space` makes it.
            strength: how much of the change, 0 to 1.5.
            stream: the caller's CUDA stream, in whose order it runs, as for :meth:`run_tensor`; None for the default
                one.
            wait: return when it is done. Without it, an answer that is not finite is reported by the next call.

        Returns:
            `out`, or new arrays of the library that gave the composite. Where the mask is 0 its bytes are the
            composite's.

        Raises:
            HarmonyError: arrays that do not fit, no engine on a GPU, or no NVRTC to compile the kernels with.
            WorkFailed: the network gave values that are not finite; the result is the composite.
        """
        with self._sessions.call(), self._sessions.checked_out() as network:
            only = self._one_network(network, "harmonize_on_device")
            return harmonize_on_device(
                only, self._manifest, composite, mask, out, bgr=bgr, opaque=opaque, space=space,
                strength=strength, stream=stream_handle(stream), wait=wait,
            )  # fmt: skip

    def _one_network(self, network: Network, what: str) -> FeedForward:
        if not isinstance(network, FeedForward):
            raise HarmonyError(f"{what} is for bundles of one network, not for {self.info.model}: use harmonize()")
        return network

    def engine_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width at which a picture of this size goes through the network, for :meth:`answer`."""
        return engine_size(self._manifest, height, width)

    def answer(self, fitted: Fitted) -> np.ndarray:
        """The network's picture of a composite that the caller has fitted, as a clip's frames are.

        Args:
            fitted: of :meth:`engine_size`, sRGB. Its `network_mask` is not read: it is made of `mask`, as the bundle
                wants it.

        Returns:
            3 x height x width float32, before blending: what :func:`harmonyrt.runtime.colour_maps.sum_colours` takes.

        Raises:
            HarmonyError: a bundle of several networks (DiffHarmony).
        """
        with self._sessions.call(), self._sessions.checked_out() as network:
            if not isinstance(network, FeedForward):
                raise HarmonyError(f"a bundle of {self.info.model} answers no fitted pictures: use harmonize()")
            mask = binary(fitted.mask) if self._manifest.binary_mask else fitted.mask
            return network.run([Prepared(fitted, {"image": fitted.image, "mask": mask[None]})])[0]

    def close(self) -> None:
        """Give back threads and engine, once the calls that run have ended. Later ones are refused in one sentence.

        Closing twice is fine. Inside a call (a progress callback) it returns at once, and the call goes on to its end.
        """
        self._sessions.close()

    def _give_back(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
        del self._network

    def __enter__(self) -> Harmonizer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pool_for(self, mask: np.ndarray) -> Pool:
        return self._pool if mask.size >= _WORTH_THREADS else None

    def _all(self, pairs: list[tuple[Any, Any]], request: Request) -> list[Harmonized]:
        with self._sessions.call():
            began = time.perf_counter()
            jobs = [
                prepared_job(composite, mask, request, self._network, self._megapixel_limit, self._pool_for)
                for composite, mask in pairs
            ]
            prepared = [job.prepared for job in jobs if job.prepared is not None]
            started = time.perf_counter()
            with self._sessions.checked_out() as network:
                outputs = iter(network.run(prepared, request.options))
            ran = time.perf_counter()
            results = [finished(job, None if job.prepared is None else next(outputs), self._pool_for) for job in jobs]
            self._last.timings = Timings(started - began, ran - started, time.perf_counter() - ran)
            return results


def _count(what: str, given: Any, otherwise: str) -> int | None:
    if given is None:
        return None
    try:
        count = operator.index(given)
    except TypeError:
        count = 0
    if not 1 <= count <= _MOST_ASKED or isinstance(given, bool):
        raise HarmonyError(f"{what} is {given!r}; give 1 to {_MOST_ASKED}, or None for {otherwise}")
    return count


def _several(given: Any, what: str, axes: int) -> list[Any]:
    """A list of pictures; an array counts as several when it has an axis for them."""
    one = isinstance(given, (str, bytes, os.PathLike)) or (isinstance(given, np.ndarray) and given.ndim < axes)
    if one or not isinstance(given, Iterable):
        raise HarmonyError(f"the {what} are a single {type(given).__name__}; give a list, or use harmonize() for one")
    return list(given)
