"""How a process ends, or forks, while threads use engines: no abort, no hang, and no work that is refused too early."""

import os
import textwrap

import pytest

from fakes.engine_programs import run_program

pytestmark = pytest.mark.alone

BEFORE = """
def always(work):
    while True:
        work()
"""


@pytest.fixture(params=["onnxruntime", "openvino"])
def ending(request, static_bundle, tmp_path):
    pytest.importorskip(request.param)

    def run(code):
        done = run_program(
            tmp_path / "ending.py", BEFORE + textwrap.dedent(code), static_bundle, request.param, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split("\n")[:-1]

    return run


def test_daemon_threads_inside_an_engine_do_not_abort_the_end(ending):
    ending("""
        harmonizer = opened()
        small = composite[:80, :80], mask[250:330, 250:330]
        for work in (lambda: harmonizer.harmonize(*small), lambda: opened().close()):
            threading.Thread(target=always, args=(work,), daemon=True).start()
        time.sleep(0.5)
    """)


def test_a_thread_may_outlive_the_main_one(ending):
    lines = ending("""
        harmonizer = opened()
        expected = harmonizer.harmonize(composite, mask)

        def work():
            threading.main_thread().join()
            print((harmonizer.harmonize(composite, mask) == expected).all())

        threading.Thread(target=work).start()
    """)
    assert lines == ["True"]


def test_exit_handlers_may_harmonize_and_close(ending):
    lines = ending("""
        harmonizer = opened()
        expected = harmonizer.harmonize(composite, mask)

        def last():
            print((harmonizer.harmonize(composite, mask) == expected).all())
            harmonizer.close()

        atexit.register(last)
    """)
    assert lines == ["True"]


def test_after_the_exit_handlers_there_is_one_sentence(ending):
    lines = ending("""
        class Late:
            def __del__(self, error=HarmonyError):
                try:
                    self.harmonizer.harmonize(composite, mask)
                except error as sentence:
                    print(sentence)
                self.harmonizer.close()

        late = Late()
        late.harmonizer = opened()
        late.late = late
    """)
    assert len(lines) == 1
    assert "Python is ending" in lines[0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on Windows")
def test_children_open_what_their_parents_closed(ending):
    """OpenVINO keeps the threads of closed engines for the next one; a child has none of them."""
    lines = ending("""
        def child(deeper):
            pid = os.fork()
            if pid:
                return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            signal.alarm(20)
            with opened() as mine:
                mine.harmonize(composite, mask)
            if deeper:
                print(child(deeper - 1), flush=True)
            sys.exit(7)

        first, again = opened(), opened()
        first.close()
        print(child(1))
        print(child(0))
    """)
    assert lines == ["7", "7", "7"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on Windows")
def test_a_child_forked_while_another_thread_opens_can_open(ending):
    lines = ending("""
        threading.Thread(target=always, args=(lambda: opened().close(),), daemon=True).start()
        time.sleep(0.3)
        codes = []
        for _ in range(3):
            pid = os.fork()
            if not pid:
                signal.alarm(20)
                opened().close()
                os._exit(7)
            codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        print(codes)
    """)
    assert lines == ["[7, 7, 7]"]
