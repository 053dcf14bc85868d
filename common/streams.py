"""Standard streams that may be closed, full, narrow or gone, and what a program then does.

    with standard_streams() as streams:
        work()                  # prints and writes to sys.stdout and sys.stderr as usual
        streams.check_stdout()  # now, or one sentence

- What cannot be written to stderr is dropped: chatter never stops the work.
- What cannot be written to stdout is dropped too, and remembered: the work goes on to its end, and the program says it
  then. So a full disk behind stdout costs the listing of a folder and not the folder.
- A closed stream becomes the null device. Otherwise the next file that the program opens would take its place, and what
  libraries print would end up in a user's picture.
- Characters that a stream's encoding lacks are printed as backslash escapes, and bytes of file names that are not text
  as those bytes.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import select
import sys
from collections.abc import Iterator

from harmonyrt.common.errors import HarmonyError, WorkFailed

_ERRORS = "harmonyrt-names"
_NAMES = ("stdin", "stdout", "stderr")


def _escaped(error: UnicodeError) -> tuple[str | bytes, int]:
    """An error handler of :mod:`codecs`: bytes of file names as they are, other characters as escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if "\udc80" <= character <= "\udcff":
        return bytes([ord(character) - 0xDC00]), error.start + 1
    return character.encode("ascii", "backslashreplace").decode(), error.start + 1


codecs.register_error(_ERRORS, _escaped)


class StdoutLeft(Exception):
    """Who read stdout has left before everything was printed."""


class _Sink(io.RawIOBase):
    """A file descriptor whose write never fails; the first failure is kept in `failure`."""

    def __init__(self, descriptor: int, closed_before: bool) -> None:
        self._descriptor = descriptor
        self.failure: OSError | None = None
        self.closed_before = closed_before

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data) -> int:  # type: ignore[override]
        size = memoryview(data).nbytes
        if self.failure is None and self.closed_before and size:
            self.failure = OSError(errno.EBADF, "it is closed")
        if self.failure is not None:
            return size
        while True:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:  # who started us made the pipe so
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.failure = error
                return size


class Streams:
    """The streams of a running program. Where a caller has put something else in their place, that stays."""

    def __init__(self) -> None:
        self.closed: set[str] = set()
        self.stdout: _Sink | None = None
        self._lenient = False

    def results_are_files(self) -> None:
        """What is printed only lists what was written to files: a closed stdout then loses nothing."""
        self._lenient = True

    def check_stdout(self) -> None:
        """Raise if something that was printed has been lost.

        Raises:
            StdoutLeft: who read it has left, as `| head` does.
            WorkFailed: the disk is full, or stdout is closed.
        """
        failure: OSError | None = None
        try:
            sys.stdout.flush()
        except OSError as error:  # not ours: a capture
            failure = error
        if self.stdout is not None:
            failure = self.stdout.failure
        if failure is None or (self._lenient and ("stdout" in self.closed or isinstance(failure, BrokenPipeError))):
            return
        if isinstance(failure, BrokenPipeError):
            raise StdoutLeft
        raise WorkFailed(
            f"what was printed to stdout is lost ({failure.strerror}); send it to a place that takes it and run again"
        )


_current = Streams()


def current() -> Streams:
    """The standard streams of this program, as :func:`standard_streams` opened them."""
    return _current


@contextlib.contextmanager
def standard_streams() -> Iterator[Streams]:
    """Make the standard streams safe inside the block (see above).

    Only the process's own are replaced: a capture by a test, or by a program that calls ours, stays in place. Inside
    another such block this one does nothing.
    """
    global _current
    before, streams = (sys.stdin, sys.stdout, sys.stderr, _current), Streams()
    streams.closed = _fill_closed()
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    if sys.stdout is None or sys.stdout is sys.__stdout__:
        sys.stdout, streams.stdout = _replacement(sys.stdout, 1, "stdout" in streams.closed, _ERRORS)
    else:
        streams = _current if before[3].stdout is not None else streams
    if sys.stderr is None or sys.stderr is sys.__stderr__:
        sys.stderr, _ = _replacement(sys.stderr, 2, "stderr" in streams.closed, "backslashreplace")
    _current = streams
    try:
        yield streams
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(ValueError, OSError):
                stream.flush()
        sys.stdin, sys.stdout, sys.stderr, _current = before


def _fill_closed() -> set[str]:
    """Put the null device where a descriptor is closed; the names of those streams."""
    closed = set()
    for descriptor, name in enumerate(_NAMES):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
            os.set_inheritable(descriptor, True)
            closed.add(name)
    return closed


def _replacement(old, descriptor: int, closed: bool, errors: str) -> tuple[io.TextIOWrapper, _Sink]:
    if old is not None:
        with contextlib.suppress(OSError, ValueError):
            old.flush()
    sink = _Sink(descriptor, closed)
    encoding = getattr(old, "encoding", None) or "utf-8"
    by_line = descriptor == 2 or sink.isatty()
    return io.TextIOWrapper(io.BufferedWriter(sink), encoding, errors, line_buffering=by_line), sink


def read_stdin() -> bytes:
    """All of stdin.

    Raises:
        HarmonyError: it is closed, a terminal, or cannot be read.
    """
    if sys.stdin is None or "stdin" in _current.closed:
        raise HarmonyError("there is no picture on stdin, which is closed; name a file instead of -")
    try:
        if sys.stdin.isatty():
            raise HarmonyError("stdin is a terminal, and no picture; pipe one in, or name a file instead of -")
        descriptor = sys.stdin.buffer.fileno()
    except io.UnsupportedOperation:  # something that a program put there
        return sys.stdin.buffer.read()
    pieces: list[bytes] = []
    while True:
        try:
            piece = os.read(descriptor, 1 << 20)
        except BlockingIOError:
            select.select([descriptor], [], [])
            continue
        except OSError as error:
            raise HarmonyError(f"stdin cannot be read ({error.strerror}); pipe a picture in, or name a file") from None
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
