"""The one exception type for what a user can cause or mend.

The message is one sentence that says what happened, what was given, and what to do. The command line prints it
and leaves with :attr:`HarmonyError.exit_code`; anything else that escapes is a bug and keeps its stack trace.
"""

from __future__ import annotations

from types import ModuleType

from harmonyrt.common.telemetry import import_quietly


class HarmonyError(Exception):
    """Wrong usage or input: a bad picture, mask, checkpoint, bundle, option or missing package (exit code 2)."""

    exit_code = 2


class WorkFailed(HarmonyError):
    """The input was fine and the work still failed: an engine outside its gate, a disk that filled up (exit code 1)."""

    exit_code = 1


class OutOfMemory(WorkFailed):
    """Memory ran out: of the machine, of the process's limit or of the GPU."""


class Cancelled(WorkFailed):
    """The caller stopped the work, for example by a progress callback that returned False. Nothing is broken."""


class TooLarge(HarmonyError):
    """A picture beyond the limit of megapixels, refused before it was decoded."""


class UnknownFormat(HarmonyError):
    """A file that is no picture, or one of a format that is not read."""


class HarmonyWarning(UserWarning):
    """Something that works but is probably not what was meant, such as an empty mask or an assumption about weights."""


class HarmonyNote(HarmonyWarning):
    """How something was understood that could have been meant otherwise, such as labels in a mask. Plain, only said."""


def error_of_pair(error: Exception, composite: object) -> HarmonyError:
    """Whatever went wrong with one pair of many, as a sentence that names the pair's composite.

    Args:
        error: a :class:`HarmonyError` comes back as it is, and its own sentence names what it is about.
        composite: its path.
    """
    if isinstance(error, HarmonyError):
        return error
    if isinstance(error, MemoryError):
        return WorkFailed(f"{composite} does not fit into this machine's memory; scale it down")
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return WorkFailed(f"{composite} failed ({said}); please report this with the picture and its mask")


def require(module: str, extra: str, why: str) -> ModuleType:
    """Import an optional package where it is used.

    Args:
        module: what to import, for example ``"openvino"``.
        extra: the extra of this distribution that installs it.
        why: what needs it, as the sentence's subject ("the OpenVINO backend").

    Raises:
        HarmonyError: naming the ``pip install 'harmonyrt[extra]'`` that mends it.
    """
    try:
        return import_quietly(module)
    except ImportError as error:
        name = module.split(".")[0]
        if error.name is not None and error.name.split(".")[0] != name:
            raise
        raise HarmonyError(
            f"{why} needs the package {name}, which is not installed: run pip install 'harmonyrt[{extra}]'"
        ) from None
