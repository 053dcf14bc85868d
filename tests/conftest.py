"""What tests of several rooms need: golden cases, and a bundle made by hand.

Another folder of golden cases, held back ones say, is run with HARMONYRT_GOLDEN=FOLDER.

Lanes: `slow` tests are left out of `make test-fast`; `alone` tests run after the others, which run in parallel. A test
that uses one of SLOW_FIXTURES is slow without being marked.
"""

# ruff: noqa: E402
from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if WORKERS > 1:  # before numpy and torch read it: workers share the cores instead of each taking them all
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", str(max(1, cores // WORKERS)))

import filelock
import numpy as np
import pytest

from harmonyrt.common.files import sha256_of
from harmonyrt.runtime.manifest import EngineSpec, FileSpec, Manifest, ModelSpec, Parity, TensorSpec

pytest_plugins = ("fakes.traces",)
_CACHE = tempfile.TemporaryDirectory(prefix="harmonyrt-tests-")
GOLDEN = Path(os.environ.get("HARMONYRT_GOLDEN", Path(__file__).parent / "golden"))
# Largest absolute error that a case allows, by the longest prefix of its name (shared/golden/check_example.py).
TOLERANCE = {"phnet": 1e-5, "phnet_tiny_mask128": 5e-5, "dh_pipeline": 2e-4, "dh": 5e-5}


# A shell's background jobs ignore Ctrl-C, and so would the programs that tests start and interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests choose what was measured of the CPU; nothing is measured, read from or left in the user's cache unasked.
os.environ["HARMONYRT_MEASURE"] = "0"
os.environ["XDG_CACHE_HOME"] = _CACHE.name


def _recipe():
    spec = importlib.util.spec_from_file_location("golden_recipe", GOLDEN / "recipe.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Golden:
    """Reads golden cases and regenerates their weights."""

    def __init__(self) -> None:
        self.folder = GOLDEN
        self.recipe = _recipe()
        self._weights: dict[str, tuple[dict[str, np.ndarray], dict]] = {}

    def weights(self, state_dict: str) -> tuple[dict[str, np.ndarray], dict]:
        """Arrays by tensor name and the model configuration, for example of ``"phnet_state_dict.json"``."""
        if state_dict not in self._weights:
            info = json.loads((self.folder / state_dict).read_text())
            self._weights[state_dict] = (self.recipe.state_dict(info["tensors"]), info["config"])
        return self._weights[state_dict]

    def case(self, name: str) -> dict[str, np.ndarray]:
        """Arrays of one case; `meta` decoded."""
        path = next(self.folder.glob(f"*/{name}.npz"), None)
        if path is None:
            pytest.skip(f"golden case {name} is not in this folder")
        data = dict(np.load(path, allow_pickle=False))
        data["meta"] = json.loads(str(data["meta"])) if "meta" in data else {}
        return data

    @staticmethod
    def names(prefix: str) -> list[str]:
        """Names of the cases that begin with `prefix`."""
        return sorted(path.stem for path in GOLDEN.glob(f"*/{prefix}*.npz"))

    @staticmethod
    def tolerance(name: str) -> float:
        """Largest absolute error that the case allows."""
        return TOLERANCE[max((key for key in TOLERANCE if name.startswith(key)), key=len)]

    @staticmethod
    def phnet_inputs(data: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """image (B,3,H,W) and mask (B,1,H,W), float32 in [0, 1]."""
        return (
            data["image"].astype(np.float32) / np.float32(255),
            data["mask"].astype(np.float32) / np.float32(data["mask_scale"]),
        )

    @staticmethod
    def phnet_error(output: np.ndarray, data: dict[str, np.ndarray]) -> float:
        """Largest absolute error of a network output; infinite when it is not finite."""
        output = np.asarray(output, np.float64)
        if not np.isfinite(output).all():
            return float("inf")
        if "output" in data:
            assert output.shape == data["output"].shape
            return float(np.abs(output - data["output"]).max())
        y, x = (int(v) for v in data["crop_yx"])  # large cases are stored thinned out
        h, w = data["output_crop"].shape[-2:]
        return max(
            float(np.abs(output[:, :, ::2, ::2] - data["output_s2"]).max()),
            float(np.abs(output[:, :, y : y + h, x : x + w] - data["output_crop"]).max()),
            float(np.abs(output.mean((2, 3)) - data["channel_mean"]).max()),
        )


@pytest.fixture(scope="session")
def golden() -> Golden:
    return Golden()


@pytest.fixture(scope="session")
def golden_losses(golden) -> dict[str, np.ndarray]:
    """Values of the released losses and metrics (RECIPE.md lists the arrays)."""
    return golden.case("phnet_losses_metrics")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with the argument `phnet_case` runs once for every PHNet case of the folder.

    With `small_phnet_case` for those up to 300 pixels wide: simulated precisions take long, and these show it.
    """
    for argument in {"phnet_case", "small_phnet_case"} & set(metafunc.fixturenames):
        not_networks = ("phnet_e2e", "phnet_losses")  # the first is in folders that are held back only
        names = [name for name in Golden.names("phnet_") if not name.startswith(not_networks)]
        assert names, f"no golden cases in {GOLDEN}"
        if argument == "small_phnet_case":
            names = [name for name in names if _width(name) <= 300]
        metafunc.parametrize(argument, names)


def _width(case: str) -> int:
    with np.load(next(GOLDEN.glob(f"*/{case}.npz"))) as data:
        return data["image"].shape[-1]


SLOW_FIXTURES = {
    *(
        "a_floor",
        "diffharmony_bundles",
        "engines",
        "golden_graph",
        "golden_trace",
        "phnet_graph",
        "plain_export",
        "tiny_engines",
        "tiny_trace",
        "wheel",
    ),
}
"""Each takes more than five seconds of a core."""
MAY_BE_SKIPPED = re.compile(r"CUDA|this GPU|optimum|C\+\+|Windows|Linux's|only root")
"""Reasons that name what a machine may lack. What comes with `make` may not be lacking (--strict-skips)."""


def pytest_addoption(parser: pytest.Parser) -> None:
    about = "fail when a test is skipped for anything but a GPU, optimum or C++"
    parser.addoption("--strict-skips", action="store_true", help=about)
    about = "with --strict-skips: what `make test-fleet` runs in its own environment may be skipped here"
    parser.addoption("--without-fleet", action="store_true", help=about)
    about = "tests/serving: only the tests that ask a server, which Ray Serve runs then"
    parser.addoption("--on-ray-serve", action="store_true", help=about)


def pytest_terminal_summary(terminalreporter) -> None:
    """Say how many tests a missing GPU, package or folder kept from running."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        gpu = sum("gpu" in getattr(report, "keywords", ()) for report in skipped)  # a skipped file has none
        terminalreporter.write_line(f"{len(skipped)} skipped, {gpu} of them because there is no GPU")
    for reason in _not_allowed(terminalreporter) if terminalreporter.config.option.strict_skips else ():
        terminalreporter.write_line(f"FAILED: no test may be skipped for this reason: {reason}", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.option.strict_skips and reporter is not None and _not_allowed(reporter):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _not_allowed(terminalreporter) -> list[str]:
    reasons = {report.longrepr[2] for report in terminalreporter.stats.get("skipped", [])}
    if terminalreporter.config.option.without_fleet:
        reasons = {reason for reason in reasons if "make test-fleet" not in reason}
    return sorted(reason for reason in reasons if not MAY_BE_SKIPPED.search(reason))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    no_gpu = not _gpu_present()
    for item in items:
        if SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
        if no_gpu and "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA GPU"))
    if WORKERS > 1:  # workers take files in this order: what takes long must not begin when the other has nothing left
        slow = Counter(item.path for item in items if "slow" in item.keywords)
        items.sort(key=lambda item: -slow[item.path])


def _gpu_present() -> bool:
    return any(Path("/dev").glob("nvidia[0-9]*"))


@pytest.fixture(scope="session")
def made_once(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """made_once("name", make): a folder that make(folder) fills, once for all workers of a parallel run."""
    base = tmp_path_factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder = root / f"once-{name}"
        with filelock.FileLock(root / f"once-{name}.lock"):
            if not (folder / ".made").exists():  # or a worker failed in it: then this one fails in it too
                folder.mkdir(exist_ok=True)
                make(folder)
                (folder / ".made").touch()
        return folder

    return made


@pytest.fixture(scope="session")
def diffharmony_bundles(made_once, kept_traces) -> dict[str, Path]:
    """Tiny DiffHarmony bundles with random weights, 64 -> 32 pixels: plain VAE ("kl") and harmony VAE ("harmony")."""
    output = made_once("diffharmony", _build_diffharmony)
    return {kind: output / kind / "diffharmony-random-64to32-fp32" for kind in ("kl", "harmony")}


def _build_diffharmony(output: Path) -> None:
    from harmonyrt.export.build_engines import main

    for kind, more in (("kl", ["--targets", "onnx", "openvino"]), ("harmony", ["--random-harmony-vae"])):
        sizes = ["--inference-size", "64", "--output-size", "32", "--steps", "2", "1", "5"]
        command = ["diffharmony", "--random-weights", "tiny", *sizes, "--threads", "1", "--output", str(output / kind)]
        assert main([*command, *more]) == 0


SIDE = 32


@pytest.fixture(scope="session")
def bundle(tmp_path_factory) -> Path:
    """A bundle made by hand that opens with onnxruntime; its network darkens: output = 0.9 x image."""
    onnx = pytest.importorskip("onnx")
    folder = tmp_path_factory.mktemp("engines") / "phnet-32-fp32"
    folder.mkdir()
    onnx.save(_darkening(onnx), folder / "model.onnx")
    file = FileSpec("model.onnx", sha256_of(folder / "model.onnx"), (folder / "model.onnx").stat().st_size)
    parity = Parity(1, 0.0, 200.0, "max_abs_error <= 1e-4", "made by hand")
    manifest = Manifest(
        name=folder.name,
        model=ModelSpec("phnet", {}, 1, "none.pth", "0" * 64),
        precision="fp32",
        size=(SIDE, SIDE),
        batch=1,
        working_size=SIDE,
        size_multiple=8,
        binary_mask=False,
        inputs=(_tensor("image", 3, "composite"), _tensor("mask", 1, "mask")),
        outputs=(_tensor("output", 3, "output"),),
        engines=(EngineSpec("onnx", "fp32", (file,), {"float32": 1}, parity),),
        tools={},
        recipe={},
        recipe_sha256="0" * 64,
        created="2026-01-01T00:00:00+00:00",
    )
    (folder / "manifest.json").write_text(manifest.to_json())
    return folder


def _tensor(name: str, channels: int, meaning: str) -> TensorSpec:
    return TensorSpec(name, (1, channels, SIDE, SIDE), "float32", "NCHW", (0.0, 1.0), meaning)


def _darkening(onnx):
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Mul", ["image", "factor"], ["output"])],
        "darkening",
        [
            helper.make_tensor_value_info("image", kind, [1, 3, SIDE, SIDE]),
            helper.make_tensor_value_info("mask", kind, [1, 1, SIDE, SIDE]),
        ],
        [helper.make_tensor_value_info("output", kind, [1, 3, SIDE, SIDE])],
        [helper.make_tensor("factor", kind, [], [0.9])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
