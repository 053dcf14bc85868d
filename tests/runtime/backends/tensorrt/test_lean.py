"""Plans built without their lean runtime: the library that opens them is the one that the manifest vouches for."""

from __future__ import annotations

import sys
import types
import weakref

import pytest

from fakes import cuda as simulation
from fakes.tensorrt_engines import FakeEngine
from harmonyrt.common import HarmonyError
from harmonyrt.common.files import sha256_of
from harmonyrt.runtime.backends import SessionOptions, cuda, tensorrt
from harmonyrt.runtime.backends.tensorrt import engine as tensorrt_engine
from harmonyrt.runtime.backends.tensorrt import lean
from harmonyrt.runtime.backends.tensorrt import versions as tensorrt_versions
from harmonyrt.runtime.manifest import FILE_NAME, EngineSpec, FileSpec, Parity


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A bundle with a plan that carries no lean runtime, and a TensorRT that loads libraries which say `lean`."""
    gpu = simulation.SimulatedCuda()
    opened = types.SimpleNamespace(libraries=[], runtimes=[], bundle=tmp_path / "engines" / "phnet-16-fp32")

    class Runtime:
        def __init__(self, logger, lean_library=None):
            self.logger, self.library, self.engine_host_code_allowed = logger, lean_library, False
            opened.runtimes.append(self)

        def load_runtime(self, path):
            opened.libraries.append(path)
            with open(path, "rb") as file:
                if not file.read().startswith(b"lean"):
                    self.logger.log("error", "undefined symbol: getInferLibVersion")
                    return None
            return Runtime(self.logger, path)

        def deserialize_cuda_engine(self, serialized_engine):
            if self.library is None:
                self.logger.log("error", "the plan has no lean runtime")
                return None
            return FakeEngine(gpu, int(serialized_engine), self.logger)

    severity = types.SimpleNamespace(ERROR="error", INTERNAL_ERROR="internal", WARNING="warning")
    logger = type("ILogger", (), {"Severity": severity})
    trt = types.SimpleNamespace(__version__="11.4.0", ILogger=logger, Runtime=Runtime)
    monkeypatch.setattr(tensorrt_versions, "load", lambda target: trt)
    monkeypatch.setattr(cuda, "open_cuda", lambda: gpu)
    monkeypatch.setattr(tensorrt_engine, "_plans", weakref.WeakValueDictionary())
    monkeypatch.delenv(lean.VARIABLE, raising=False)
    monkeypatch.setattr(lean, "installed", lambda: [])
    opened.bundle.mkdir(parents=True)
    (opened.bundle / FILE_NAME).write_text("{}")
    plan = opened.bundle / "fp32" / "tensorrt.engine"
    plan.parent.mkdir()
    plan.write_text("16")
    opened.library = tmp_path / "lean" / "libnvinfer_lean.so.11"
    opened.library.parent.mkdir()
    opened.library.write_bytes(b"lean runtime of 11.4")
    needs = {"version": "11.4.0", "version_compatible": "true", **lean.needs_of(opened.library)}
    file = FileSpec(plan.name, sha256_of(plan), 2)
    spec = EngineSpec("tensorrt", "fp32", (file,), {}, Parity(1, 0.0, 100.0, "", ""), needs)
    opened.open = lambda: tensorrt_engine.load_plan(plan, spec, 0)
    return opened


def test_the_library_that_is_named_opens_the_plan(machine, monkeypatch):
    monkeypatch.setenv(lean.VARIABLE, str(machine.library))
    plan = machine.open()
    assert machine.libraries == [str(machine.library)]
    parent, child = machine.runtimes
    assert (plan.parent, plan.runtime) == (parent, child), "the first has to outlive the second"
    assert child.engine_host_code_allowed
    assert not parent.engine_host_code_allowed


@pytest.mark.parametrize("where", ["a folder that is named", "the bundle", "next to the bundles", "the package"])
def test_it_is_found_by_its_hash(machine, monkeypatch, where):
    folders = {"the bundle": machine.bundle, "next to the bundles": machine.bundle.parent}
    folder = folders.get(where, machine.library.parent)
    (folder / "libnvinfer_lean.so.10").write_bytes(b"lean runtime of 10.16")
    library = folder / machine.library.name
    machine.library.rename(library)
    if where == "a folder that is named":
        monkeypatch.setenv(lean.VARIABLE, str(folder))
    if where == "the package":
        monkeypatch.setattr(lean, "installed", lambda: sorted(folder.iterdir()))
    machine.open()
    assert machine.libraries == [str(library)]


def test_a_library_with_another_hash_is_never_loaded(machine, monkeypatch):
    monkeypatch.setenv(lean.VARIABLE, str(machine.library))
    machine.library.write_bytes(b"lean runtime with something else in it")
    found = sha256_of(machine.library)[:12]
    with pytest.raises(
        HarmonyError, match=rf"need libnvinfer_lean\.so\.11 of TensorRT 11\.4\.0 .* \(sha256 {found}…\)"
    ):
        machine.open()
    assert machine.libraries == []


def test_without_a_library_the_plan_is_not_tried(machine):
    with pytest.raises(HarmonyError, match="found none; install the package tensorrt-lean of that version"):
        machine.open()


def test_a_library_that_does_not_load_says_why(machine, monkeypatch):
    machine.library.write_bytes(b"of another system")
    monkeypatch.setattr(lean, "find", lambda needs, plan: machine.library)
    with pytest.raises(HarmonyError, match=r"cannot load the lean runtime .* undefined symbol: getInferLibVersion"):
        machine.open()


def test_the_package_is_found_and_not_imported(tmp_path, monkeypatch):
    package = tmp_path / "tensorrt_lean_libs"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('it would load the libraries')")
    for name in ("libnvinfer_lean.so.11", "libnvinfer_vc_plugin.so.11"):
        (package / name).write_bytes(b"")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert lean.installed() == [package / "libnvinfer_lean.so.11"]
    assert "tensorrt_lean_libs" not in sys.modules


# --- the lean runtime's package alone, without the rest of TensorRT


@pytest.fixture
def only_lean(monkeypatch):
    """A machine on which the lean runtime's package of some release is all that there is of TensorRT."""

    def install(version):
        module = types.ModuleType("tensorrt_lean")
        module.__version__ = version
        monkeypatch.setitem(sys.modules, "tensorrt_lean", module)
        return module

    there = tensorrt_versions._is_there
    monkeypatch.setattr(tensorrt_versions, "_is_there", lambda name: name != "tensorrt" and there(name))
    return install


def spec_of(**needs):
    needs = {"version": "11.4.0", "compute_capability": "8.9"} | needs
    file = FileSpec("tensorrt.engine", "0" * 64, 2)
    return EngineSpec("tensorrt", "fp32", (file,), {}, Parity(1, 0.0, 100.0, "", ""), needs)


def test_the_lean_package_opens_version_compatible_plans_of_its_release(only_lean, monkeypatch):
    monkeypatch.setattr(cuda, "open_cuda", simulation.SimulatedCuda)
    only_lean("11.4.0")
    assert tensorrt.why_not(spec_of(version_compatible="true"), SessionOptions()) is None
    assert "needs the package tensorrt" in tensorrt.why_not(spec_of(), SessionOptions())
    only_lean("11.5.0")
    reason = tensorrt.why_not(spec_of(version_compatible="true"), SessionOptions())
    assert reason.startswith("found TensorRT 11.5.0, need 11.4.0:"), "a newer TensorRT would open it, not this"


def test_a_lean_package_that_does_not_load_says_so(only_lean, monkeypatch):
    only_lean("11.4.0")

    def broken(name):
        raise OSError("libcudart.so.13: cannot open shared object file")

    monkeypatch.setattr(tensorrt_versions.importlib, "import_module", broken)
    with pytest.raises(HarmonyError, match=r"lean runtime is installed and does not load \(libcudart\.so\.13"):
        tensorrt_versions.load_to_run("tensorrt", version_compatible=True)


def test_the_lean_package_needs_no_library_beside_the_plan(machine, monkeypatch):
    trt = tensorrt_versions.load("tensorrt")
    trt.__name__ = "tensorrt_lean"

    class Lean(trt.Runtime):
        def __init__(self, logger):
            super().__init__(logger, "its own")

    trt.Runtime = Lean
    plan = machine.open()
    assert (machine.libraries, plan.parent) == ([], None)
