"""What the runtime warns about: handed to Python, or collected for the thread that asked."""

import threading
import warnings

import pytest

from harmonyrt.common import HarmonyNote, HarmonyWarning
from harmonyrt.runtime.caller import heard, warn


def test_collected_sentences_do_not_reach_python():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with heard() as sentences:
            warn("an empty mask")
            with heard() as inner:
                warn("labels", HarmonyNote)
            warn("twice")
    assert sentences == [("an empty mask", HarmonyWarning), ("twice", HarmonyWarning)]
    assert inner == [("labels", HarmonyNote)]
    with pytest.warns(HarmonyWarning, match="afterwards"):
        warn("afterwards")


def test_each_thread_hears_its_own():
    found = {}
    barrier = threading.Barrier(2)

    def work(name):
        with heard() as sentences:
            barrier.wait(60)
            warn(name)
            barrier.wait(60)
        found[name] = [text for text, _ in sentences]

    threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {"a": ["a"], "b": ["b"]}
