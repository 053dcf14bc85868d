"""Tiny bundles end to end, through the same face as PHNet."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from harmonyrt.common import HarmonyError
from harmonyrt.runtime import Harmonizer
from harmonyrt.runtime.bundle import open_bundle
from harmonyrt.runtime.diffusion import RunOptions
from harmonyrt.runtime.diffusion.schedule import SamplingSchedule


@pytest.fixture(scope="module")
def picture() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    composite = rng.integers(0, 256, (9, 11, 3), np.uint8).repeat(9, 0).repeat(9, 1)[:77, :95]
    mask = np.zeros(composite.shape[:2], np.uint8)
    mask[20:60, 30:70] = 255
    return np.ascontiguousarray(composite), mask


@pytest.mark.parametrize(("kind", "backend"), [("kl", "onnxruntime"), ("kl", "openvino"), ("harmony", "onnxruntime")])
def test_harmonize(kind, backend, diffharmony_bundles, picture):
    composite, mask = picture
    if backend == "openvino":
        pytest.importorskip("openvino", reason="needs the OpenVINO backend")
    with Harmonizer.open(diffharmony_bundles[kind], backend=backend, threads=1) as harmonizer:
        assert (harmonizer.info.model, harmonizer.info.random_weights) == ("diffharmony", True)
        first = harmonizer.harmonize(composite, mask)
        again = harmonizer.harmonize(composite, mask, options=RunOptions(seed=0))
        other = harmonizer.harmonize(composite, mask, options=RunOptions(seed=1))
        fewer = harmonizer.harmonize(composite, mask, options=RunOptions(steps=1))
    assert first.shape == composite.shape
    assert np.array_equal(first[mask == 0], composite[mask == 0])
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, fewer)


def test_backends_agree_for_a_seed(diffharmony_bundles, picture):
    pytest.importorskip("openvino", reason="needs the OpenVINO backend")
    found = []
    for backend in ("onnxruntime", "openvino"):
        with Harmonizer.open(diffharmony_bundles["kl"], backend=backend, threads=1) as harmonizer:
            found.append(harmonizer.harmonize(*picture, options=RunOptions(seed=5)).astype(int))
    assert np.abs(found[0] - found[1]).max() <= 1


def test_a_batch_of_two_sizes_gives_what_each_gives_alone(diffharmony_bundles, picture):
    composite, mask = picture
    pair = [composite, composite[:61, :83]], [mask, mask[:61, :83]]
    with Harmonizer.open(diffharmony_bundles["harmony"], threads=1) as harmonizer:
        together = harmonizer.harmonize_batch(*pair)
        alone = [harmonizer.harmonize(*one) for one in zip(*pair, strict=True)]
    assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))


def test_the_manifest_says_what_is_inside(diffharmony_bundles):
    manifest = open_bundle(diffharmony_bundles["harmony"]).manifest
    schedule = SamplingSchedule.of(manifest)
    assert schedule.conditional
    assert sorted(schedule.programs) == [1, 2, 5]
    assert schedule.default_steps == 2
    assert {engine.component for engine in manifest.engines} == set(schedule.components)
    assert all(engine.parity.cases > 0 for engine in manifest.engines)
    held = {name: part["parameters"] for name, part in manifest.model.config["components"].items()}
    assert set(held) == set(schedule.components)
    assert held["unet"] > 2_000_000
    whole = manifest.model.config["parity_of_the_whole"]["onnx"]
    assert whole["max_abs_error"] <= 1e-4


def test_a_plan_that_cannot_be_read_is_refused(diffharmony_bundles):
    manifest = open_bundle(diffharmony_bundles["kl"]).manifest
    broken = dataclasses.replace(manifest, model=dataclasses.replace(manifest.model, config={}))
    with pytest.raises(HarmonyError, match=r"has no readable model\.config\.loop"):
        SamplingSchedule.of(broken)
    with pytest.raises(HarmonyError, match="holds a phnet, not a diffharmony"):
        SamplingSchedule.of(dataclasses.replace(manifest, model=dataclasses.replace(manifest.model, family="phnet")))


def test_a_missing_component_is_named(diffharmony_bundles):
    from harmonyrt.runtime.backends import SessionOptions
    from harmonyrt.runtime.diffusion import DiffusionModel

    bundle = open_bundle(diffharmony_bundles["kl"])
    engines = tuple(engine for engine in bundle.manifest.engines if engine.component != "vae-decoder")
    bundle = dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, engines=engines))
    with pytest.raises(HarmonyError, match="has no engine of its component vae-decoder"):
        DiffusionModel.open(bundle, "onnxruntime", None, SessionOptions(threads=1))
