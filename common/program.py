"""How each of the project's programs ends: its exit code, and one sentence on stderr for what a user can cause."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from harmonyrt.common.errors import HarmonyError
from harmonyrt.common.files import NO_ROOM
from harmonyrt.common.progress import say
from harmonyrt.common.signals import terminated_cleanly
from harmonyrt.common.streams import StdoutLeft, standard_streams

_FAILED = (*NO_ROOM, errno.EFBIG, errno.EIO, errno.ESTALE)
_REFUSED = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EROFS)


def run_program(work: Callable[[], int | None], interrupted: str = "") -> int:
    """Do a program's work, whatever its standard streams are.

    Args:
        work: prints results to stdout and returns the exit code; None is 0.
        interrupted: said when Ctrl-C ended it.

    Returns:
        0 fine, 1 the work failed or what was printed is lost, 2 wrong usage or input, 130 interrupted. Any other
        exception is a bug and keeps its stack trace.
    """
    with standard_streams() as streams, terminated_cleanly():
        try:
            try:
                code = work() or 0
            except SystemExit as end:  # --help and --version have printed something
                if not end.code:
                    streams.check_stdout()
                raise
            streams.check_stdout()
            return code
        except HarmonyError as error:
            say_error(str(error))
            return error.exit_code
        except StdoutLeft:  # who read it has seen enough, as `| head` does
            return 1
        except MemoryError:
            say_error("the machine ran out of memory; give a smaller picture, or run fewer programs at the same time")
            return 1
        except OSError as error:
            sentence = _about_a_path(error)
            if sentence is None:
                raise
            say_error(sentence)
            return 1 if error.errno in _FAILED else 2
        except KeyboardInterrupt:
            if interrupted:
                say(interrupted)
            return 130


def _about_a_path(error: OSError) -> str | None:
    """A sentence about a disk or a path that nobody expected to be as it is; None for what may be a bug."""
    where = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes | os.PathLike) else ""
    if error.errno in NO_ROOM:
        return f"there is no room left on the disk{where and ' for '}{where}; free some and run again"
    if error.errno in _FAILED and where:
        return f"{where} cannot be read or written ({error.strerror}); look after the disk and run again"
    if error.errno in _REFUSED and where:
        return f"{where} cannot be used ({error.strerror}); check the path and its permissions"
    return None


def say_error(sentence: str) -> None:
    """One line on stderr, whatever the sentence holds."""
    say(f"error: {' '.join(sentence.split())}")
