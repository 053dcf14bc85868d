"""A process that opens a bundle and forks: children refuse what they inherit, open their own, and end."""

import os
import textwrap

import pytest

from fakes.engine_programs import run_program

pytestmark = [pytest.mark.alone, pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on Windows")]

BEFORE = """
def child(work):
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    signal.alarm(120)
    work()
    sys.exit(7)  # its own status must come through
"""


@pytest.fixture(params=["onnxruntime", "openvino"])
def forking(request, static_bundle, tmp_path):
    pytest.importorskip(request.param)

    def run(code):
        done = run_program(
            tmp_path / "forking.py", BEFORE + textwrap.dedent(code), static_bundle, request.param, timeout=600
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout.split("\n")[:-1]

    return run


def test_a_child_refuses_what_it_inherits_and_ends(forking):
    lines = forking("""
        harmonizer = opened()
        harmonizer.harmonize(composite, mask)

        def work():
            tensors = np.zeros((1, 3, 64, 64), np.float32), np.zeros((1, 1, 64, 64), np.float32)
            for call in (lambda: harmonizer.harmonize(composite, mask), lambda: harmonizer.run_tensor(*tensors)):
                try:
                    call()
                except HarmonyError as error:
                    print(error, flush=True)
            harmonizer.close()

        print(child(work))
        harmonizer.harmonize(composite, mask)  # the parent goes on
    """)
    assert len(lines) == 3
    assert all("open the bundle after the fork" in line for line in lines[:2])
    assert lines[2] == "7"


def test_a_child_opens_its_own_and_ends(forking):
    lines = forking("""
        harmonizer = opened()
        expected = harmonizer.harmonize(composite, mask)

        def work():
            with opened() as mine:
                print(np.abs(mine.harmonize(composite, mask).astype(int) - expected).max() <= 1, flush=True)

        print(child(work))
    """)
    assert lines == ["True", "7"]


@pytest.mark.parametrize("before", ["harmonizer.close()", "del harmonizer", "pass"])
def test_a_child_of_a_process_that_used_an_engine_ends(forking, before):
    lines = forking(f"""
        harmonizer = opened()
        harmonizer.harmonize(composite, mask)
        {before}
        print(child(lambda: None))
        grandchild = lambda: os._exit(child(lambda: None))
        print(child(grandchild))
    """)
    assert lines == ["7", "7"]


def test_a_child_does_not_destroy_what_it_inherits(forking):
    lines = forking("""
        harmonizer = opened()
        harmonizer.harmonize(composite, mask)

        def work():
            global harmonizer
            del harmonizer
            import gc
            gc.collect()

        print(child(work))
    """)
    assert lines == ["7"]


def test_a_fork_while_another_thread_works_does_not_hang(forking):
    lines = forking("""
        import threading
        harmonizer = opened()
        stop = False

        def always():
            while not stop:
                harmonizer.harmonize(composite, mask)

        thread = threading.Thread(target=always)
        thread.start()

        def work():
            try:
                harmonizer.harmonize(composite, mask)
            except HarmonyError:
                harmonizer.close()

        print([child(work) for _ in range(5)])
        stop = True
        thread.join()
    """)
    assert lines == ["[7, 7, 7, 7, 7]"]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing_gives_the_sentence_or_the_picture(forking, method):
    lines = forking(f"""
        def inherited(_):
            return harmonizer.harmonize(composite, mask)

        def own(_):
            with opened() as mine:
                return int(mine.harmonize(composite, mask).astype(np.int64).sum())

        if __name__ == "__main__":
            harmonizer = opened()
            total = int(harmonizer.harmonize(composite, mask).astype(np.int64).sum())
            with multiprocessing.get_context("{method}").Pool(2) as pool:
                print(all(abs(found - total) < 1e-4 * total for found in pool.map(own, range(2))))
                if "{method}" == "fork":
                    try:
                        pool.map(inherited, range(2))
                    except HarmonyError as error:
                        print(error)
    """)
    assert lines[0] == "True"
    assert method == "spawn" or "open the bundle after the fork" in lines[1]
