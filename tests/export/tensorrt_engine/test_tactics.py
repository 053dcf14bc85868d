"""Tactics files: a build writes which kernels it chose, and another one chooses the same or fails."""

from __future__ import annotations

import json
import types

import onnx_ir as ir
import pytest

from fakes import tensorrt as fake
from fakes.tensorrt_graphs import graph
from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.export.build.options import parse
from harmonyrt.export.build.recipe import check_options, options_of, tensorrt_facts
from harmonyrt.export.targets import BuildOptions
from harmonyrt.export.tensorrt_engine import build as to_tensorrt
from harmonyrt.runtime.backends import cuda
from harmonyrt.runtime.backends.tensorrt import versions as tensorrt_versions

FAST, EXACT = "0x665ded9abbf88", "0x393e4ef8ad243"


@pytest.fixture
def builds(monkeypatch, tmp_path):
    """builds(record=True) -> the fake package and the engine that it built with the one tactics file of the test."""

    def build(record, version="11.4.0", capability=(8, 9), more=(), **wishes):
        trt = fake.fake_tensorrt(version)
        vars(trt).update(more)
        monkeypatch.setattr(tensorrt_versions, "load", lambda target: trt)
        gpus = types.SimpleNamespace(device_count=lambda: 1, capability=lambda i: capability)
        monkeypatch.setattr(cuda, "open_cuda", lambda: gpus)
        asked = {"tactics": tmp_path / "tactics.json", "record_tactics": record, "cache": tmp_path / "cache"} | wishes
        (tmp_path / "bundle").mkdir(exist_ok=True)
        trt.built = to_tensorrt.build(
            ir.from_proto(graph()), tmp_path / "bundle", "fp16", BuildOptions("tensorrt", (16, 16), **asked)
        )
        return trt

    build.file = tmp_path / "tactics.json"
    build.read = lambda: json.loads(build.file.read_text())
    return build


def test_a_build_writes_what_it_chose_and_what_else_there_was(builds, tmp_path):
    trt = builds(record=True)
    assert "EDITABLE_TIMING_CACHE" in trt.configs[0].flags
    found = builds.read()
    assert (found["tensorrt"], found["compute_capability"]) == ("11.4.0", "8.9")
    (entry,) = found["tactics"].values()
    assert entry == {
        "tactic": FAST,
        "milliseconds": 0.011264,
        "operation": "conv",
        "kernels": {FAST: "sm80_fast", EXACT: "sm80_exact"},
    }
    assert not (tmp_path / "cache").exists(), "other builds' timings have no say"


def test_another_build_chooses_the_same_whatever_is_fastest_there(builds):
    builds(record=True)
    kept = builds.file.read_bytes()
    otherwise = [(0x393E4EF8AD243, 0.001, "sm80_exact"), (0x665DED9ABBF88, 0.1, "sm80_fast")]
    trt = builds(record=False, more={"tactics": otherwise})
    assert "ERROR_ON_TIMING_CACHE_MISS" in trt.configs[0].flags
    assert [hex(value.tacticHash) for value in trt.configs[0].timing.chosen.values()] == [FAST]
    assert builds.file.read_bytes() == kept
    builds(record=True, more={"tactics": otherwise})
    assert builds.read()["tactics"] == json.loads(kept)["tactics"], "what is there already is not timed again"


def test_a_hand_may_choose_another_kernel(builds):
    builds(record=True)
    found = builds.read()
    (entry,) = found["tactics"].values()
    entry["tactic"] = EXACT
    builds.file.write_text(json.dumps(found))
    trt = builds(record=False)
    assert [hex(value.tacticHash) for value in trt.configs[0].timing.chosen.values()] == [EXACT]


def test_an_operation_that_is_not_in_the_file_fails_the_build(builds, tmp_path):
    builds(record=True)
    found = builds.read()
    builds.file.write_text(json.dumps({**found, "tactics": {}}))
    for path in (tmp_path / "bundle").iterdir():
        path.unlink()
    with pytest.raises(WorkFailed, match=r"timing cache miss of conv; with --tactics every operation must be in"):
        builds(record=False)
    with pytest.raises(WorkFailed, match=r"1 operations are not in .* and were chosen by timing"):
        builds(record=False, more={"ignores_misses": True})
    assert not list((tmp_path / "bundle").iterdir())


def every(**changes):
    """A change of every entry of a file."""
    return lambda found: found | {"tactics": {key: entry | changes for key, entry in found["tactics"].items()}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda found: found | {"tensorrt": "11.3.0"},
            r"recorded with TensorRT 11\.3\.0 on .* TensorRT 11\.4\.0 on 8\.9",
        ),
        (lambda found: found | {"compute_capability": "9.0"}, r"on compute capability 9\.0, and this is"),
        (lambda found: found | {"kind": "other"}, "is not a tactics file of schema 1"),
        (lambda found: [found], "is not a tactics file of schema 1"),
        (lambda found: found | {"tactics": {"0x12": {}}}, "no tactic and milliseconds for 0x12"),
        (lambda found: found | {"tactics": None}, "no tactic and milliseconds for its operations"),
        (every(milliseconds=-1), "no tactic and milliseconds for 0x"),
        (every(tactic="0xdead"), "does not take tactic 0xdead"),
    ],
)
def test_what_does_not_fit_is_one_sentence(builds, change, said):
    builds(record=True)
    builds.file.write_text(json.dumps(change(builds.read())))
    with pytest.raises(HarmonyError, match=said):
        builds(record=False)


def test_a_file_that_is_cut_short_is_one_sentence(builds):
    builds.file.write_text('{"kind": "harmonyrt-tactics"')
    with pytest.raises(HarmonyError, match="cannot be read"):
        builds(record=False)


def test_releases_and_levels_that_know_no_tactics_say_so(builds):
    with pytest.raises(HarmonyError, match=r"from TensorRT 10\.8 on, found 10\.4\.0"):
        builds(record=True, version="10.4.0")
    with pytest.raises(HarmonyError, match="optimisation level 0"):
        builds(record=True, optimization_level=0)
    assert not builds.file.exists()


def test_a_build_depends_on_the_file_that_it_uses_and_no_other_does(tmp_path):
    """Recipes, and with them the hashes that say whether a bundle is still right."""
    file = tmp_path / "tactics.json"
    file.write_text("one")

    def facts(*words):
        return tensorrt_facts(options_of(parse(["phnet", *words])))

    assert facts() == {}
    assert facts("--record-tactics", str(file)) == {"tactics": "recorded"}
    first = facts("--tactics", str(file))
    file.write_text("another")
    assert first != facts("--tactics", str(file))
    with pytest.raises(HarmonyError, match="leave one of them out"):
        facts("--tactics", str(file), "--record-tactics", str(file))
    with pytest.raises(HarmonyError, match="is not a file; record one with --record-tactics"):
        check_options(BuildOptions("", None, tactics=tmp_path / "missing.json"))


@pytest.mark.parametrize("option", [["--tactics", "{file}"], ["--record-tactics", "{file}"], ["--strip-weights"]])
def test_options_of_tensorrt_alone_are_refused_before_any_work(tmp_path, option):
    file = tmp_path / "tactics.json"
    file.write_text("{}")
    words = [word.format(file=file) for word in option]
    arguments = parse(["phnet", "--targets", "onnx", *words])
    with pytest.raises(HarmonyError, match=rf"^{option[0]} is for target tensorrt; add it to --targets"):
        arguments.family.recipes(arguments)
