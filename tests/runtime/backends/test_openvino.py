import contextlib
import dataclasses
import gc
import signal
import subprocess
import sys

import numpy as np
import pytest

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.backends import SessionOptions, openvino
from harmonyrt.runtime.bundle import open_bundle
from harmonyrt.runtime.compiled_cache import CompiledCache
from harmonyrt.runtime.cpu_speed import CpuSpeed

pytest.importorskip("openvino")


@pytest.fixture
def bundle(static_bundle):
    return open_bundle(static_bundle)


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def engine_of(bundle, target="openvino", precision="fp32"):
    found = next(engine for engine in bundle.manifest.engines if engine.target == target)
    return dataclasses.replace(found, precision=precision)


def open_session(bundle, engine, **options):
    return openvino.open_session(bundle.verified_file(engine), engine, bundle.manifest, SessionOptions(**options))


@pytest.mark.parametrize("target", ["openvino", "onnx"])
def test_it_runs_its_own_engines_and_onnx(bundle, target):
    session = open_session(bundle, engine_of(bundle, target), threads=1, pin_threads=False)
    image, mask = np.full((1, 3, 64, 64), 0.5, np.float32), np.ones((1, 1, 64, 64), np.float32)
    first = session.run({"image": image, "mask": mask})["output"]
    np.testing.assert_allclose(first[0, :, 0, 0], [0.605, 0.3675, 0.395], atol=1e-5)
    kept = first.copy()
    session.run({"image": image * 0, "mask": mask})
    np.testing.assert_array_equal(first, kept)


def test_the_precision_is_the_one_of_the_engine_and_not_the_cpus_favourite(bundle, monkeypatch):
    import openvino as ov

    given = {}
    compile_model = ov.Core.compile_model

    def spy(core, model, device, settings):
        given.update(settings)
        return compile_model(core, model, device, settings)

    monkeypatch.setattr(ov.Core, "compile_model", spy)
    open_session(bundle, engine_of(bundle), threads=2)
    assert given["INFERENCE_PRECISION_HINT"] == "f32"
    assert given["PERFORMANCE_HINT"] == "LATENCY"
    assert given["INFERENCE_NUM_THREADS"] == 2
    assert given["ENABLE_CPU_PINNING"] is False  # left to itself, every process takes the first cores
    open_session(bundle, engine_of(bundle), threads=2, pin_threads=True)
    assert given["ENABLE_CPU_PINNING"] is True


@pytest.mark.parametrize(
    ("plain", "precision", "warned"),
    [(1.0, "bf16", True), (4.0, "bf16", False), (1.9, "bf16", False), (1.0, "fp32", False)],
)
@pytest.mark.parametrize("about", [{"rewrites": ("winograd",)}, {"needs": {"native": "99"}}])
def test_winograd_in_bf16_is_announced_where_it_is_measured_slower(
    bundle, monkeypatch, caplog, plain, precision, warned, about
):
    speed = CpuSpeed("a CPU", "2026.4", {"fp32": 9.0, "bf16": plain, "bf16 winograd": 2.0}, 10.0)
    monkeypatch.setattr(openvino, "kept", lambda cache: speed)
    engine = dataclasses.replace(engine_of(bundle, precision=precision), **about)
    with contextlib.suppress(HarmonyError):  # this CPU may lack BF16: that is announced earlier
        open_session(bundle, engine)
    assert ("measured faster in BF16 without Winograd" in caplog.text) == warned


@pytest.mark.parametrize(("taken", "warned"), [(0.8, False), (1.5, True)])
def test_an_engine_with_kernels_in_bf16_is_held_against_the_kernels_time(bundle, monkeypatch, caplog, taken, warned):
    times = {"fp32": 9.0, "bf16": 1.0, "bf16 winograd": 2.0, "bf16 native": taken}
    monkeypatch.setattr(openvino, "kept", lambda cache: CpuSpeed("a CPU", "2026.4", times, 10.0))
    with contextlib.suppress(HarmonyError):  # these kernels are of no version
        open_session(bundle, dataclasses.replace(engine_of(bundle, precision="bf16"), needs={"native": "99"}))
    assert ("measured faster in BF16 without Winograd" in caplog.text) == warned


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_precision_that_the_cpu_lacks_is_refused(bundle, monkeypatch, precision):
    import openvino as ov

    monkeypatch.setattr(ov.Core, "get_property", lambda *_: ["FP32", "INT8"])
    reason = openvino.why_not(engine_of(bundle, precision=precision), SessionOptions())
    assert precision.upper() in reason
    assert "found FP32, INT8" in reason


def test_it_says_what_it_cannot_do(bundle):
    assert openvino.why_not(engine_of(bundle), SessionOptions(device="cpu")) is None
    assert "cuda" in openvino.why_not(engine_of(bundle), SessionOptions(device="cuda"))
    assert "--targets openvino" in openvino.why_not(engine_of(bundle, "onnx", "bf16"), SessionOptions())


CLOSED_ELSEWHERE = """
import gc, mmap, os, signal, sys, threading
from harmonyrt.runtime import Harmonizer
opened = [Harmonizer.open(sys.argv[1], backend="openvino")]
heard = []
signal.signal(signal.SIGINT, lambda *_: heard.append(True))
def close():
    opened.clear()
    gc.collect()
thread = threading.Thread(target=close)
thread.start()
thread.join()
os.kill(os.getpid(), signal.SIGINT)
print("heard", heard)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no signal stacks")
def test_a_signal_finds_its_stack_after_another_thread_closed_the_last_engine(static_bundle):
    command = [sys.executable, "-X", "faulthandler", "-c", CLOSED_ELSEWHERE, str(static_bundle)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "heard [True]\n"), ended.stderr


FEEDS = {"image": np.full((1, 3, 64, 64), 0.5, np.float32), "mask": np.ones((1, 1, 64, 64), np.float32)}


def picture_of(session):
    return session.run(FEEDS)["output"][0, :, 0, 0]


@pytest.fixture
def openings(monkeypatch):
    """How models came: compiled or imported, in order."""
    import openvino as ov

    calls = []

    def spied(name):
        original = getattr(ov.Core, name)
        monkeypatch.setattr(ov.Core, name, lambda *given: (calls.append(name), original(*given))[1])

    spied("compile_model"), spied("import_model")
    return calls


def test_compiled_models_are_kept_where_asked_and_used_again(bundle, tmp_path, openings):
    right = picture_of(open_session(bundle, engine_of(bundle), cache=str(tmp_path / "here")))
    assert len(list((tmp_path / "here" / "compiled").iterdir())) == 1
    again = open_session(bundle, engine_of(bundle), cache=str(tmp_path / "here"))
    np.testing.assert_array_equal(picture_of(again), right)
    assert openings == ["compile_model", "import_model"]


def test_an_imported_model_holds_its_weights(bundle, openings):
    right = picture_of(open_session(bundle, engine_of(bundle)))
    session = open_session(bundle, engine_of(bundle))
    gc.collect()
    (entry,) = CompiledCache.at(None).folder.iterdir()
    size = entry.stat().st_size  # of memory that was given back, which these would take
    taken = [np.full(size, 255, np.uint8) for _ in range(64)]
    np.testing.assert_array_equal(picture_of(session), right)
    assert openings == ["compile_model", "import_model"]
    del taken


def test_nothing_is_kept_where_the_cache_is_switched_off(bundle, tmp_path, openings):
    for _ in range(2):
        open_session(bundle, engine_of(bundle), cache="")
    assert openings == ["compile_model"] * 2
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("change", ["weights", "library", "precision", "threads", "cpu"])
def test_a_model_that_depends_on_something_else_is_compiled_anew(bundle, monkeypatch, openings, change):
    import openvino as ov

    engine, options = engine_of(bundle), {"threads": 1}
    open_session(bundle, engine, **options)
    if change == "weights":  # same path and times; only the hash of the second file tells
        files = (engine.files[0], dataclasses.replace(engine.files[1], sha256="0" * 64))
        engine = dataclasses.replace(engine, files=files)
    elif change == "library":
        monkeypatch.setattr(ov, "__version__", "2099.1.0")
    elif change == "precision":
        engine = dataclasses.replace(engine, precision="bf16")
    elif change == "threads":
        options = {"threads": 2}
    else:
        monkeypatch.setattr(openvino, "cpu_model_and_flags", lambda: ("another CPU", frozenset({"avx2"})))
    path = bundle.path / engine.files[0].path
    openvino.open_session(path, engine, bundle.manifest, SessionOptions(**options))
    assert openings == ["compile_model"] * 2


def test_a_model_that_openvino_does_not_take_back_is_compiled_anew(bundle, monkeypatch, openings, caplog):
    right = picture_of(open_session(bundle, engine_of(bundle)))
    read = CompiledCache.read

    def nonsense(*given):
        found = read(*given)
        found[:] = 7
        return found

    monkeypatch.setattr(CompiledCache, "read", nonsense)
    again = open_session(bundle, engine_of(bundle))
    np.testing.assert_array_equal(picture_of(again), right)
    assert openings == ["compile_model", "import_model", "compile_model"]
    assert "compiling again" in caplog.text


def test_a_cache_that_cannot_be_made_costs_a_note_and_not_the_work(bundle, tmp_path, caplog):
    (tmp_path / "file").touch()
    open_session(bundle, engine_of(bundle), cache=str(tmp_path / "file" / "here"))
    (record,) = caplog.records
    assert "are not kept in" in record.getMessage()


def test_an_export_that_the_disk_does_not_take_costs_a_note_and_not_the_work(bundle, monkeypatch, caplog, tmp_path):
    import errno

    def full(self, data):
        if self.error is None:
            self.error = OSError(errno.ENOSPC, "No space left on device")
        return len(data)

    monkeypatch.setattr(openvino._Export, "write", full)
    open_session(bundle, engine_of(bundle))
    assert "No space left on device" in caplog.text
    assert list((tmp_path / "cache" / "harmonyrt" / "compiled").iterdir()) == []


def test_a_file_that_is_no_model_is_one_sentence(bundle, tmp_path):
    path = tmp_path / "openvino.xml"
    path.write_text("<no/>")
    with pytest.raises(HarmonyError, match="cannot open") as caught:
        openvino.open_session(path, engine_of(bundle), bundle.manifest, SessionOptions())
    assert "\n" not in str(caught.value)


def test_ctrl_c_while_the_compiled_model_is_written_waits_for_its_end(bundle, monkeypatch, tmp_path):
    """OpenVINO swallows what the writer raises: the program would go on, with a part of the model in the cache."""
    write = openvino._Export.write

    def interrupted(export, data):
        if export.tell() == 0:
            signal.raise_signal(signal.SIGINT)
        return write(export, data)

    monkeypatch.setattr(openvino._Export, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        open_session(bundle, engine_of(bundle), threads=1)
    assert not list(tmp_path.rglob("*.compiled"))
