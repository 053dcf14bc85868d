"""Messages during work: names may hold anything, and lines go where there is no terminal."""

import io
import sys

import pytest

from harmonyrt.common.progress import display, growing_progress, progress, reporting, say


class Terminal(io.StringIO):
    def isatty(self):
        return True


NAMES = ["[/red].png", "[bold]", "\x1b[2J.png", "caf\udce9.png", "two\rlines"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_names_cannot_break_a_display(monkeypatch, name, kind):
    """Square brackets are the bar's markup, and control characters the terminal's."""
    monkeypatch.setattr(sys, "stderr", stream := kind())
    with progress(2, "harmonizing") as step:
        step(name)
        step(name)
    with reporting(1) as report:
        report(f"reading {name}", 0.5)
        report.step_done()
    with display() as shown:
        shown.say(name)
    text = stream.getvalue()
    assert "\x1b[2J" not in text.replace("\x1b[2K", "")
    assert name in text or name.startswith(("\x1b", "two"))


def test_lines_tell_the_end_of_a_loop_and_every_step_of_a_job(monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
    with growing_progress("measuring") as show:
        show(1, 2)
        show(2, 2)
    with reporting(2) as report:
        report("tracing")
        report("tracing", 0.5)
        report.step_done()
        report("checking")
    assert stream.getvalue().splitlines() == ["measuring 2/2", "[1/2] tracing", "[2/2] checking"]


def test_a_line_that_cannot_be_written_is_no_error():
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    say("chatter", Full())
