"""What an inference library's own words mean, as one sentence with the advice that fits."""

from __future__ import annotations

import re
from pathlib import Path

from harmonyrt.common import HarmonyError, OutOfMemory, WorkFailed

MIB = 1 << 20
_SPARE_MIB = 32  # besides an engine's files, before a library is asked to open them under a limit

# As in runtime/cpp/src/backends/module.hpp.
_MEMORY = re.compile(
    r"bad_alloc|bad allocation|failed to allocate|failed to map segment|allocate memory|can't alloc|out of memory"
    r"|outofmemory|not enough memory",
    re.IGNORECASE,
)
_ADVICE = (  # the first that fits
    (r"permission denied|no such file|nosuchfile|cannot open|can't open|could not open", "make its files readable"),
    (r"opset|ir version|ir_version|unsupported model version", "install a newer {package}, or build the bundle again"),
    (r"not_implemented|not implemented|could not find an implementation|unsupported operation", "use another backend"),
    (r"cuda|cudnn|cublas", "check the GPU and its driver with nvidia-smi, or give device cpu"),
    (
        r"parsing failed|invalid_protobuf|protobuf|unable to read the model|incorrect weights|xml",
        "build the bundle again",
    ),
)


def is_memory(error: BaseException) -> bool:
    """Whether an error tells that memory ran out."""
    return isinstance(error, MemoryError) or _MEMORY.search(str(error)) is not None


def opening_failed(
    who: str, package: str, path: Path, error: Exception, reason: str, verb: str = "open"
) -> HarmonyError:
    """For an engine that its library does not open.

    Args:
        who: the library and its version.
        package: that brings it.
        path: the engine's file.
        error: what the library raised.
        reason: the line of it that says most.
        verb: what the library could not do with it.
    """
    if is_memory(error):
        return no_memory(f"there is not enough memory for {who} to {verb} {path} ({reason})")
    fitting = (advice for words, advice in _ADVICE if re.search(words, reason, re.IGNORECASE))
    advice = next(fitting, "build the bundle again or install a newer {package}").format(package=package)
    return HarmonyError(f"{who} cannot {verb} {path}: {reason}; {advice}")


def running_failed(who: str, error: Exception) -> WorkFailed:
    """For a run that its library gave up."""
    reason = " ".join(str(error).split()) or type(error).__name__
    if is_memory(error):
        return no_memory(f"{who} ran out of memory ({reason[:200]})")
    return WorkFailed(f"{who} could not run the engine: {reason[:300]}; check the bundle with harmonyrt verify")


def no_memory(what: str) -> OutOfMemory:
    """The error for memory that ran out."""
    return OutOfMemory(f"{what}: free memory, raise the limit (ulimit -v, the container's), or take a smaller size")


def check_room(path: Path, size: int) -> None:
    """Refuse to open an engine where the process's own limit leaves less than its files need.

    Libraries do not survive every failed allocation (glibc ends the process when a thread's own data finds no room), so
    the hopeless case never gets there.

    Args:
        path: the engine's file, for the sentence.
        size: bytes of the engine's files.

    Raises:
        OutOfMemory: the limit is too low.
    """
    left = _left()
    if left is not None and left < size + _SPARE_MIB * MIB:
        raise no_memory(
            f"the process's memory limit leaves {left // MIB} MiB, and {path} needs {size // MIB + _SPARE_MIB} or more"
        )


def _left() -> int | None:
    """Bytes of address space that this process may still take; None without a limit."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit == resource.RLIM_INFINITY:
            return None
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        return max(0, limit - pages * resource.getpagesize())
    except (ImportError, OSError, ValueError, IndexError):
        return None
