"""Bundles with engines of several precisions: which one is opened; the C++ twin is in runtime/cpp/tests."""

import json
import logging
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from fakes.altered import altered_copy, measured
from harmonyrt.runtime import Harmonizer, HarmonyError
from harmonyrt.runtime.backends import SessionOptions
from harmonyrt.runtime.bundle import open_bundle
from harmonyrt.runtime.choices import choices_for, wanted_engines
from harmonyrt.runtime.cpu_speed import CpuSpeed
from harmonyrt.runtime.machine import machine_name
from harmonyrt.runtime.manifest import Manifest, Measurement

TIMES = {"fp32": 10.0, "bf16": 5.0, "fp16": 6.0, "int8": 2.0}


def onnx_in(precisions, more=()):
    """A change to a manifest: its ONNX engine in each of these precisions, in this order."""

    def change(manifest):
        engine = next(e for e in manifest["engines"] if e["target"] == "onnx")
        manifest["engines"] = [{**engine, "precision": precision} for precision in precisions]
        manifest.update(schema=2, precision=precisions[0], measurements=list(more))

    return change


@pytest.fixture
def opened(static_bundle, tmp_path, monkeypatch):
    """Opens a bundle of an ONNX engine in several precisions; FP16 and BF16 have no other target here."""

    def opened(precisions, precision=None, times=TIMES, more=(), **options):
        speed = None if times is None else CpuSpeed("a CPU", "2026.4", times, 10.0)
        monkeypatch.setattr("harmonyrt.runtime.choices.measured_once", lambda cache: speed)
        monkeypatch.setattr("harmonyrt.runtime.choices.may_have_gpu", lambda: False)
        bundle = altered_copy(static_bundle, Path(tempfile.mkdtemp(dir=tmp_path)), onnx_in(precisions, more))
        with Harmonizer.open(bundle, precision=precision, target="onnx", **options) as harmonizer:
            return harmonizer.info

    return opened


CASES = json.loads((Path(__file__).parents[1] / "vectors" / "select.json").read_text())["cases"]


@pytest.mark.parametrize("case", CASES, ids=[" ".join(case["engines"]) for case in CASES])
def test_the_order_is_the_c_library_s(static_bundle, case):
    manifest = open_bundle(static_bundle).manifest
    made = [
        replace(
            manifest.engines[0],
            target=target,
            precision=precision,
            needs={"native": "1"} if "native" in about else {},
            rewrites=tuple(set(about) - {"native"}),
        )
        for target, precision, *about in map(str.split, case["engines"])
    ]
    tuned = [
        Measurement(backend, target, 1, milliseconds, machine_name(), precision)
        for words, milliseconds in case.get("tuned", ())
        for backend, target, precision in [words.split()]
    ]
    manifest = replace(manifest, engines=tuple(made), measurements=tuple(tuned))
    speed = CpuSpeed("a CPU", "2026.4", case["speed"], 10.0) if "speed" in case else None
    options = SessionOptions(threads=1, device=case.get("device"))
    target, precision = case.get("target"), case.get("precision")
    engines = wanted_engines(manifest, target, precision)
    choices, why = choices_for(manifest, engines, case.get("backend", "auto"), options, precision, speed)
    assert [choice.label for choice in choices] == case["expected"]
    assert why == case["why"]


def test_auto_does_not_take_int8_unasked(opened):
    info = opened(["fp32", "int8"])
    assert info.precision == "fp32"
    assert info.why.endswith("; int8 only where it is asked for or nothing else can run")
    tuned = [
        measured("openvino", "onnx", 1.0, precision="int8"),
        measured("onnxruntime", "onnx", 9.0, precision="fp32"),
    ]
    info = opened(["fp32", "int8"], more=tuned)
    assert (info.precision, info.backend) == ("fp32", "onnxruntime")


@pytest.mark.parametrize(("asked", "found"), [("int8", "int8"), ("fastest", "int8"), ("fp32", "fp32")])
def test_a_precision_that_is_asked_for_is_opened(opened, asked, found):
    info = opened(["fp32", "int8"], asked)
    assert info.precision == found
    assert "only where it is asked for" not in info.why


def test_fastest_follows_what_was_measured(opened):
    assert opened(["fp32", "int8"], "fastest", {**TIMES, "int8": 30.0}).precision == "fp32"
    assert opened(["fp32", "int8"], "fastest", None).precision == "fp32"
    assert opened(["fp32", "int8"], "fastest", backend="onnxruntime").precision == "int8"
    assert opened(["fp32", "int8"], backend="onnxruntime").precision == "fp32"


def test_int8_comes_last_and_says_so(opened, caplog):
    """ONNX Runtime has no BF16 on a CPU, and OpenVINO wants an engine of its own for it."""
    with caplog.at_level(logging.WARNING, "harmonyrt.runtime"):
        info = opened(["bf16", "int8"], device="cpu")
    assert "int8 runs unasked, since no other engine of it can run here" in caplog.text
    assert info.precision == "int8"
    assert [label.split(" (")[1] for label, _ in info.skipped] == ["onnx bf16, cpu)"] * 2
    assert info.why.endswith("int8 only where it is asked for or nothing else can run")
    assert opened(["int8"]).why.startswith("the documented order")
    with pytest.raises(HarmonyError, match=r"cannot run as asked.*onnx bf16"):
        opened(["bf16", "int8"], "bf16")


def test_the_sentence_names_a_build_that_can_be(static_bundle):
    with pytest.raises(HarmonyError, match=r"build one with --targets openvino --precisions bf16$"):
        Harmonizer.open(static_bundle, precision="bf16")
    with pytest.raises(HarmonyError, match=r"build one with --targets onnx --precisions int8$"):
        Harmonizer.open(static_bundle, precision="int8")


def test_a_tool_that_wants_one_precision_gets_the_most_exact(static_bundle, altered):
    plain = open_bundle(static_bundle)
    assert plain.of_precision(None) is plain
    several = open_bundle(altered(static_bundle, onnx_in(["fp32", "int8"])))
    for asked, found in ((None, "fp32"), ("fp32", "fp32"), ("int8", "int8")):
        manifest = several.of_precision(asked).manifest
        assert (manifest.precision, manifest.precisions) == (found, (found,))
    with pytest.raises(HarmonyError, match=r"no engine of precision bf16: found fp32, int8; build one with"):
        several.of_precision("bf16")


def test_fp16_gains_nothing_in_onnx_runtime_on_a_cpu(opened):
    """It computes such a graph in FP32; OpenVINO, which would be faster, does not take it."""
    info = opened(["fp16", "fp32"], backend="auto")
    assert (info.backend, info.precision) == ("openvino", "fp32")
    assert opened(["fp16", "fp32"], "fastest", backend="onnxruntime").precision == "fp32"


def test_a_tuned_winner_names_its_precision(opened):
    tuned = [
        measured("onnxruntime", "onnx", 7.0, precision="fp32"),
        measured("onnxruntime", "onnx", 5.0, precision="int8"),
        measured("openvino", "onnx", 6.0, precision="int8"),
    ]
    info = opened(["fp32", "int8"], "fastest", more=tuned)
    assert (info.backend, info.precision) == ("onnxruntime", "int8")
    assert "measured fastest here: 5.0 ms" in info.why
    info = opened(["fp32", "int8"], more=tuned)
    assert (info.backend, info.precision) == ("onnxruntime", "fp32")
    assert "measured fastest here: 7.0 ms" in info.why


def test_the_slower_engine_that_was_asked_for_names_the_faster_one(opened, caplog):
    with caplog.at_level(logging.WARNING, "harmonyrt.runtime"):
        opened(["fp32", "int8"], "int8", {**TIMES, "int8": 13.3})
    assert "int8 takes 1.33 times the time of fp32: its fp32 engine is faster here" in caplog.text


def test_only_the_engine_that_is_opened_has_to_be_whole(static_bundle, altered):
    def change(manifest):
        onnx = next(e for e in manifest["engines"] if e["target"] == "onnx")
        gone = {**onnx, "precision": "int8", "files": [{**onnx["files"][0], "path": "int8/model.onnx"}]}
        manifest.update(schema=2, engines=[onnx, gone])

    bundle = altered(static_bundle, change)
    Harmonizer.open(bundle, device="cpu").close()
    with pytest.raises(HarmonyError, match=r"int8/model.onnx is missing from the bundle; build") as caught:
        Harmonizer.open(bundle, precision="int8")
    assert "\n" not in str(caught.value)


def test_the_manifest_of_each_schema_is_read_back_as_it_was_written(static_bundle, altered):
    one = open_bundle(static_bundle).manifest
    assert Manifest.from_json(one.to_json()) == one
    rows = [measured("onnxruntime", "onnx", 7.0, precision="int8")]
    path = altered(static_bundle, onnx_in(["fp32", "int8"], rows)) / "manifest.json"
    several = Manifest.from_json(path.read_text())
    assert several.precisions == ("fp32", "int8")
    assert Manifest.from_json(several.to_json()) == several
    assert "precision" not in json.loads(one.to_json()).get("measurements", [{}])


@pytest.mark.parametrize(
    ("schema", "row", "words"),
    [
        (1, {"precision": "int8"}, r"measurements\[0\] has the unknown field 'precision'"),
        (2, {}, r"measurements\[0\] has no known precision: ''"),
        (2, {"precision": "fp8"}, r"measurements\[0\] has no known precision: 'fp8'"),
        (3, {}, "has schema 3, this runtime reads schemas 1 and 2"),
        (2.0, {}, "has schema 2.0, this runtime reads schemas 1 and 2"),
        (True, {}, "has schema True, this runtime reads schemas 1 and 2"),
    ],
)
def test_measurements_name_a_precision_where_there_are_several(static_bundle, altered, schema, row, words):
    rows = [{**measured("onnxruntime", "onnx", 7.0), **row}]
    bundle = altered(static_bundle, lambda m: m.update(schema=schema, measurements=rows))
    with pytest.raises(HarmonyError, match=words):
        open_bundle(bundle)
