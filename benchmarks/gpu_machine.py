"""What the machine of a GPU measurement has: packages, a GPU that PyTorch finds, one that TensorRT takes."""

from __future__ import annotations

import importlib
import importlib.metadata

from harmonyrt.common import HarmonyError

_PACKAGES = (
    "torch", "numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-cu12", "tensorrt-cu13",
    "tensorrt-rtx-cu13-bindings", "cuda-python", "cuda-bindings", "triton",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Installed packages that matter here."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def why_no_gpu() -> str | None:
    """Why PyTorch finds no GPU here; None when it finds one."""
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return "torch is not installed"
    if not torch.cuda.is_available():
        return f"torch {torch.__version__} finds no CUDA GPU"
    return None


def why_not_on_this_gpu(target: str) -> str | None:
    """Why the installed flavour of TensorRT does not run on the first GPU; None when it may, or nobody can tell."""
    from harmonyrt.runtime.backends import cuda
    from harmonyrt.runtime.backends.tensorrt import versions as tensorrt_versions

    version = tensorrt_versions.installed(target) if target in tensorrt_versions.DISPLAY_NAME else None
    if version is None:
        return None
    try:
        return tensorrt_versions.why_unsupported(target, version, cuda.open_cuda().capability(0))
    except HarmonyError:
        return None
