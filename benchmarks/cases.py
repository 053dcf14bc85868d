"""What can be timed: an engine of a bundle, a bundle end to end, or PyTorch or another library running the network.

A case is described by plain data, since it is loaded in a separate process (see `worker.py`).
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harmonyrt.common import HarmonyError
from harmonyrt.common.errors import require

MODES_OF_TORCH = ("eager", "compile", "eager-bf16", "compile-bf16")


@dataclass(frozen=True)
class Case:
    """One thing to time.

    Attributes:
        kind: ``"engine"`` (network only), ``"picture"`` (end to end from a JPEG and a PNG mask in memory: decode, fit,
            run, upsample the edit, blend), ``"torch"`` or ``"peer"`` (:mod:`harmonyrt.benchmarks.peers`).
        path: the bundle; for torch the checkpoint, for a peer its own file.
        height: rows of the input: of the picture for ``picture``, else of the network.
        width: columns of the input.
        batch: pictures per call.
        threads: CPU threads; None leaves it to the backend.
        backend: as for `Harmonizer.open`.
        target: only engines of this target; None for any.
        precision: as for `Harmonizer.open`.
        provider: as for `Harmonizer.open`.
        device: as for `Harmonizer.open`.
        mode: for torch one of :data:`MODES_OF_TORCH`, for a peer its name.
        foreground: share of the picture that the mask covers.
        cache: as for `Harmonizer.open`.
        python: the interpreter of another environment; None for this one.
    """

    kind: str
    path: str
    height: int
    width: int
    batch: int = 1
    threads: int | None = None
    backend: str = "auto"
    target: str | None = None
    device: str | None = None
    mode: str = "eager"
    foreground: float = 0.25
    cache: str | None = None
    python: str | None = None
    precision: str | None = None
    provider: str | None = None


@dataclass(frozen=True)
class Loaded:
    """A case that is ready.

    Attributes:
        call: does the work once.
        about: what was loaded, for example ``{"backend": "openvino", "precision": "fp32"}``.
        output: the last output, to compare cases with each other.
        stages: milliseconds of the last call's parts; empty for a call that has none.
    """

    call: Callable[[], object]
    about: dict[str, str]
    output: Callable[[], np.ndarray]
    stages: Callable[[], dict[str, float]] = dict


def inputs(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """A smooth picture with texture, float32 (B,3,H,W) in [0, 1], and a centred rectangle as mask (B,1,H,W)."""
    rows = np.linspace(0, 9, case.height, dtype=np.float32)[:, None]
    columns = np.linspace(0, 7, case.width, dtype=np.float32)[None, :]
    waves = [np.sin(rows * (1 + c) + columns) * np.cos(columns * (2 - c / 2)) for c in range(3)]
    noise = np.random.default_rng(0).random((3, case.height, case.width), dtype=np.float32)
    image = np.clip(0.5 + 0.35 * np.stack(waves) + 0.1 * (noise - 0.5), 0, 1).astype(np.float32)
    side = np.sqrt(case.foreground)
    mask = np.zeros((1, case.height, case.width), np.float32)
    top, left = int(case.height * (1 - side) / 2), int(case.width * (1 - side) / 2)
    mask[:, top : case.height - top, left : case.width - left] = 1
    return np.stack([image] * case.batch), np.stack([mask] * case.batch)


def load(case: Case) -> Loaded:
    """Load a case in this process.

    Raises:
        HarmonyError: it does not exist or cannot run here.
    """
    loaders = {"engine": _load_engine, "picture": _load_picture, "torch": _load_torch, "peer": _load_peer}
    if case.kind not in loaders:
        raise HarmonyError(f"a case of kind {case.kind!r} is not known; give one of {', '.join(loaders)}")
    return loaders[case.kind](case)


def _load_engine(case: Case) -> Loaded:
    from harmonyrt.runtime.backends import SessionOptions
    from harmonyrt.runtime.backends.onnxruntime_providers import check_provider
    from harmonyrt.runtime.bundle import open_bundle
    from harmonyrt.runtime.select import open_best

    bundle = open_bundle(case.path)
    size, batch = bundle.manifest.size, bundle.manifest.batch
    if size not in (None, (case.height, case.width)) or batch not in (None, case.batch):
        raise HarmonyError(
            f"{case.path} is built for {size or 'any size'}, batch {batch or 'any'}; it cannot be timed at"
            f" {case.height}x{case.width}, batch {case.batch}: choose a dynamic bundle"
        )
    check_provider(case.provider, case.backend)
    options = SessionOptions(threads=case.threads, device=case.device, cache=case.cache, provider=case.provider)
    selected = open_best(bundle, case.backend, case.target, options, case.precision)
    image, mask = inputs(case)
    feeds = {"image": image, "mask": mask}
    last: dict[str, np.ndarray] = {}

    def call() -> None:
        last.update(selected.session.run(feeds))

    engine = selected.choice.engine
    about = {
        "backend": selected.session.backend,
        "device": selected.session.device,
        "target": engine.target,
        "precision": engine.precision,
        "rewrites": " ".join(engine.rewrites),
        "model": _model_name(bundle.manifest.model.parameters),
    }
    return Loaded(call, about, lambda: last["output"])


def _load_picture(case: Case) -> Loaded:
    from harmonyrt.runtime import Harmonizer
    from harmonyrt.runtime.bundle import open_bundle
    from harmonyrt.runtime.images.inputs import Reading, read_pair

    where = (case.backend, case.threads, case.device)
    which = {"target": case.target, "precision": case.precision, "provider": case.provider}
    harmonizer = Harmonizer.open(case.path, *where, **which, cache=case.cache)  # type: ignore[arg-type]  # all texts
    jpeg, png = _files(case)
    last: list[np.ndarray] = []
    decoding: list[float] = []

    def call() -> None:
        start = time.perf_counter()
        read = read_pair(jpeg, png, Reading(), "the picture", "the mask")
        decoding[:] = [1000 * (time.perf_counter() - start)]
        last[:] = [harmonizer.harmonize(read.picture.rgb, read.mask)]

    def stages() -> dict[str, float]:
        parts = ("fit", "engine", "carry_back")
        return {"decode": decoding[0], **{name: 1000 * getattr(harmonizer.timings, name) for name in parts}}

    info = harmonizer.info
    engines, of = open_bundle(case.path).manifest.engines, (info.target, info.native)
    about = {
        "backend": info.backend,
        "device": info.device,
        "target": info.target,
        "precision": info.precision,
        "rewrites": " ".join(
            next((e.rewrites for e in engines if (e.target, e.is_native, e.precision) == (*of, info.precision)), ())
        ),
        "model": _model_name(info.parameters),
    }
    return Loaded(call, about, lambda: last[0], stages)


def _files(case: Case) -> tuple[bytes, bytes]:
    """The picture as JPEG and its mask as PNG, in memory."""
    from PIL import Image

    image, mask = inputs(case)
    files = []
    for pixels, name, options in (
        (np.rint(image[0].transpose(1, 2, 0) * 255), "JPEG", {"quality": 90}),
        (mask[0, 0] * 255, "PNG", {}),
    ):
        file = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(file, name, **options)
        files.append(file.getvalue())
    return files[0], files[1]


def _load_peer(case: Case) -> Loaded:
    from harmonyrt.benchmarks.peers.libraries import open_peer

    call, first, about = open_peer(case.mode, case.path, case.threads or 1, *inputs(case))
    last = [first]

    def again() -> None:
        last[:] = [call()]

    return Loaded(again, about, lambda: last[0])


def _load_torch(case: Case) -> Loaded:
    torch = require("torch", "build", "timing against PyTorch")
    from harmonyrt.models import load_phnet

    if case.mode not in MODES_OF_TORCH:
        raise HarmonyError(f"torch mode {case.mode!r} is not known; give one of {', '.join(MODES_OF_TORCH)}")
    if case.threads is not None:
        torch.set_num_threads(case.threads)
    device = case.device or "cpu"
    network = load_phnet(case.path).to(device)
    image, mask = (torch.from_numpy(a).to(device) for a in inputs(case))
    run = torch.compile(network) if case.mode.startswith("compile") else network
    lower = case.mode.endswith("bf16")
    last: list = []

    def call() -> None:
        with torch.inference_mode(), torch.autocast(device.split(":")[0], torch.bfloat16, lower):
            last[:] = [run(image, mask)]
        if device != "cpu":
            torch.cuda.synchronize()

    about = {
        "backend": "torch",
        "device": device,
        "target": case.mode,
        "precision": "bf16" if lower else "fp32",
        "version": torch.__version__,
        "model": _model_name(sum(p.numel() for p in network.parameters())),
    }
    return Loaded(call, about, lambda: last[0].float().cpu().numpy())


def _model_name(parameters: int) -> str:
    return f"PHNet {parameters / 1e6:.1f} M"
