"""What a runtime thinks of a plan before it opens it: TensorRT for RTX can be asked, and says why not.

Members and meanings are those of `EngineInvalidityDiagnostics` of TensorRT for RTX 1.7.1. TensorRT itself has no such
query (up to 11.4); there, opening tells.
"""

from __future__ import annotations

from typing import Any

_REASONS = {
    "VERSION_MISMATCH": "another version of TensorRT for RTX built it: build the bundle again with the installed one",
    "UNSUPPORTED_CC": "it was not built for this GPU: build with --compute-capabilities of this GPU",
    "OLD_CUDA_DRIVER": "the driver is too old for it: install a newer NVIDIA driver",
    "OLD_CUDA_RUNTIME": "the CUDA runtime is too old for it: install a newer tensorrt-rtx package",
    "INSUFFICIENT_GPU_MEMORY": "the GPU has too little free memory: free some, or build a smaller size",
    "MALFORMED_ENGINE": "the file is not a whole engine: build the bundle again",
    "CUDA_ERROR": "CUDA does not work here: check nvidia-smi and harmonyrt doctor",
}


def ask(trt: Any, runtime: Any, plan: bytes) -> tuple[str | None, str | None]:
    """Ask a runtime about a plan.

    Args:
        trt: the flavour's module.
        runtime: of that flavour.
        plan: the whole file.

    Returns:
        (why it cannot be opened, what is not as good as it could be); None for each that there is not. Both are None
        where the flavour cannot be asked, and where it is invalid for no stated reason: opening it tells more.
    """
    if not hasattr(runtime, "get_engine_validity"):
        return None, None
    validity, bits = runtime.get_engine_validity(plan)
    members = trt.EngineInvalidityDiagnostics.__members__.items()
    found = [_REASONS.get(name, name.lower().replace("_", " ")) for name, bit in members if int(bits) & int(bit)]
    if validity == trt.EngineValidity.INVALID:
        return ("; ".join(found) or None), None
    if validity == trt.EngineValidity.SUBOPTIMAL:
        return None, "; ".join(found) or "it could run faster if it were built again for this GPU and version"
    return None, None
