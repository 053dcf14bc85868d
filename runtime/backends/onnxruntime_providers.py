"""Which of ONNX Runtime's execution providers run an engine on an NVIDIA GPU, and with which options.

Names of options: `OrtCUDAProviderOptionsV2` and `OrtTensorRTProviderOptionsV2` in ONNX Runtime's
include/onnxruntime/core/providers.
"""

from __future__ import annotations

import ctypes
import io
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.backends import SessionOptions
from harmonyrt.runtime.backends.tensorrt import versions
from harmonyrt.runtime.compiled_cache import CompiledCache
from harmonyrt.runtime.manifest import EngineSpec

CUDA, TENSORRT, CPU = "CUDAExecutionProvider", "TensorrtExecutionProvider", "CPUExecutionProvider"
PROVIDERS = {"cuda": CUDA, "tensorrt": TENSORRT}
"""By the name that a caller gives."""
GRAPH_OPTION = {"cuda": "enable_cuda_graph", "tensorrt": "trt_cuda_graph_enable"}
INSTALL = "pip uninstall onnxruntime && pip install onnxruntime-gpu"
"""Both packages bring the module `onnxruntime`, and the CPU's comes with HarmonyRT."""
_OURS = {
    "device_id": "give device instead",
    "user_compute_stream": "sessions have their own stream, ordered behind the caller's",
    "has_user_compute_stream": "sessions have their own stream, ordered behind the caller's",
    "trt_engine_cache_enable": "give cache instead",
    "trt_engine_cache_path": "give cache instead",
    "trt_fp16_enable": "the bundle's precision decides",
    "trt_int8_enable": "the bundle's precision decides",
}
_TRUE = ("1", "true")


def why_not(ort: Any, engine: EngineSpec, options: SessionOptions) -> str | None:
    """Why the provider that was asked for cannot run an engine on a GPU here; None when it can, as far as is known."""
    name = options.provider or "cuda"
    if name not in PROVIDERS:
        return f"it knows no provider {name!r}: give {' or '.join(PROVIDERS)}"
    available = ort.get_available_providers()
    needed = [PROVIDERS[name], CUDA]
    missing = next((one for one in needed if one not in available), None)
    if missing is not None:
        return f"device {options.device} needs {missing}, found {', '.join(available)}: run {INSTALL}"
    if name == "tensorrt" and engine.precision == "int8":
        return "TensorRT takes no INT8 graph of ONNX Runtime's style: build the target tensorrt, or give provider cuda"
    if name == "tensorrt" and engine.precision == "bf16":
        return "the TensorRT provider is not used for BF16: build the target tensorrt, or give provider cuda"
    for key, _ in options.provider_options:
        if key in _OURS:
            return f"the provider option {key} cannot be given: {_OURS[key]}"
    return None


def did_not_load(ort: Any, options: SessionOptions) -> str:
    """The sentence for a provider that is installed and does not load; it names the library that is missing, where the
    system's loader says so."""
    name = options.provider or "cuda"
    kind = "libonnxruntime_providers_{}.so" if os.name != "nt" else "onnxruntime_providers_{}.dll"
    library = Path(str(getattr(ort, "__file__", ""))).parent / "capi" / kind.format(name)
    missing = ""
    if library.is_file():
        try:
            ctypes.CDLL(os.fspath(library))
        except OSError as error:
            found = re.match(r"\S+: cannot open shared object file", str(error))
            missing = f" ({found[0]})" if found else ""
    needs = "CUDA and cuDNN" if name == "cuda" else "TensorRT, CUDA and cuDNN"
    other = "give device cpu" if name == "cuda" else "give provider cuda"
    return (
        f"{PROVIDERS[name]} did not load{missing}: check nvidia-smi, install the {needs} that ONNX Runtime"
        f" {ort.__version__} needs (pip install 'onnxruntime-gpu[cuda,cudnn]' brings CUDA's), or {other}"
    )


def wants_graph(options: SessionOptions) -> bool:
    """Whether the caller's provider options ask for a CUDA graph."""
    asked = dict(options.provider_options).get(GRAPH_OPTION[options.provider or "cuda"], "")
    return asked.lower() in _TRUE


def providers(
    engine: EngineSpec, options: SessionOptions, index: int, stream: int | None, cache: EngineCache | None
) -> list[Any]:
    """What `InferenceSession` gets as `providers`, the one that was asked for first.

    Args:
        engine: what the manifest says of it.
        options: provider and its options.
        index: of the GPU.
        stream: the session's own CUDA stream; None for ONNX Runtime's.
        cache: of the TensorRT provider's engines; None for none.
    """
    common: dict[str, str] = {"device_id": str(index)}
    if stream is not None:
        common["user_compute_stream"] = str(stream)
    asked = dict(options.provider_options)
    # TF32 would put products of ten bits into FP32 graphs and into the FP32 islands of the others.
    cuda = {**common, "use_tf32": "0"}
    if (options.provider or "cuda") == "cuda":
        return [(CUDA, {**cuda, **asked}), CPU]
    trt = {**common, "trt_fp16_enable": "1" if engine.precision == "fp16" else "0"}
    if cache is not None:
        trt |= {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(cache.folder)}
        trt |= {"trt_timing_cache_enable": "1", "trt_timing_cache_path": str(cache.folder)}
    return [(TENSORRT, {**trt, **asked}), (CUDA, cuda), CPU]


def tf32_warning(engine: EngineSpec, options: SessionOptions) -> str | None:
    """What to tell about digits that the TensorRT provider drops; None where it drops none."""
    if options.provider != "tensorrt" or os.environ.get("NVIDIA_TF32_OVERRIDE") == "0":
        return None
    return (
        f"ONNX Runtime's TensorRT provider may compute {engine.precision} graphs' FP32 products in TF32, with ten bits:"
        " set NVIDIA_TF32_OVERRIDE=0 in the environment, or use a tensorrt engine"
    )


def on_cpu(session: Any) -> dict[str, int]:
    """How many nodes of which operators a session left on the CPU, where its release tells (1.24 or later)."""
    assigned = getattr(session, "get_provider_graph_assignment_info", None)
    counts: dict[str, int] = {}
    if assigned is not None:
        for part in assigned():
            for node in part.get_nodes() if part.ep_name == CPU else ():
                counts[node.op_type] = counts.get(node.op_type, 0) + 1
    return counts


@dataclass
class EngineCache:
    """The TensorRT provider's engines of one ONNX file, in one entry of the cache of compiled engines.

    The provider reads and writes a folder, and trusts what it finds there. So it gets a private, temporary one that is
    filled from the entry, whose key and hash are checked, and goes into the entry when there is more in it.

    Attributes:
        cache: where the entry is.
        key: what it depends on.
        folder: the provider's.
    """

    cache: CompiledCache
    key: Mapping[str, object]
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="harmonyrt-engines-")))
    _saved: dict[str, int] = field(default_factory=dict)

    @classmethod
    def choose(
        cls, options: SessionOptions, engine: EngineSpec, release: str, device: str | None
    ) -> EngineCache | None:
        """That of an engine on a kind of GPU; None where nothing can be kept.

        Args:
            options: the cache's folder, and what the provider is told.
            engine: its files' hashes are in the key.
            release: of ONNX Runtime.
            device: the GPU's name; None where it is unknown.
        """
        tensorrt = versions.installed("tensorrt")
        cache = CompiledCache.at(options.cache)
        if cache.folder is None or device is None or tensorrt is None:
            return None
        files = " ".join(file.sha256 for file in engine.files)
        library = f"onnxruntime {release} tensorrt {tensorrt}"
        settings = " ".join(f"{name}={value}" for name, value in sorted(options.provider_options))
        key = {"kind": "onnxruntime-tensorrt", "files": files, "library": library, "gpu": device}
        kept = cls(cache, {**key, "settings": settings})
        kept._fill()
        return kept

    def _fill(self) -> None:
        content = self.cache.read(self.key)
        if content is None:
            return
        with tarfile.open(fileobj=io.BytesIO(content.data)) as archive:
            for member in archive:
                if member.isfile() and Path(member.name).name == member.name:
                    source = archive.extractfile(member)
                    assert source is not None
                    (self.folder / member.name).write_bytes(source.read())
        self._saved = self._found()

    def _found(self) -> dict[str, int]:
        return {path.name: path.stat().st_size for path in sorted(self.folder.iterdir()) if path.is_file()}

    def save(self) -> None:
        """Keep what the provider has written, if there is anything new. A failure is noted and stops nothing."""
        found = self._found()
        if not found or found == self._saved:
            return

        def write(file: BinaryIO) -> None:
            with tarfile.open(fileobj=file, mode="w|") as archive:
                for name in found:
                    archive.add(self.folder / name, arcname=name)

        self.cache.write(self.key, write)
        self._saved = found

    def close(self) -> None:
        """Remove the provider's folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def check_provider(asked: object, backend: str) -> None:
    """Refuse a provider, or options of one, of another backend than ONNX Runtime.

    Raises:
        HarmonyError: there is one.
    """
    if asked and backend != "onnxruntime":
        raise HarmonyError(f"provider is ONNX Runtime's, and backend is {backend!r}: give backend='onnxruntime'")


def checked_options(given: Mapping[str, Any] | None) -> tuple[tuple[str, str], ...]:
    """A caller's provider options as ONNX Runtime wants them: text, True and False as 1 and 0.

    Raises:
        HarmonyError: no mapping of names.
    """
    if given is None:
        return ()
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise HarmonyError(
            f"provider_options is a {type(given).__name__}; give a dictionary of option names and values"
        )
    return tuple((name, str(int(value)) if isinstance(value, bool) else str(value)) for name, value in given.items())
