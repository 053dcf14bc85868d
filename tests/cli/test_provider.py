"""`--provider` of ONNX Runtime on a GPU: every verb that opens bundles has it, and hands it to the runtime."""

from __future__ import annotations

import pytest

from harmonyrt.benchmarks.cases import Case, load
from harmonyrt.common import HarmonyError
from harmonyrt.evaluation.runs import Run, opened
from harmonyrt.fleet.bundles import bundle_source
from harmonyrt.fleet.work import Engine, HarmonizeJob
from harmonyrt.serving.service import Service
from harmonyrt.serving.settings import Settings

ON_GPU = ("--backend", "onnxruntime", "--device", "cuda", "--provider", "tensorrt")


def test_the_provider_reaches_the_runtime_and_its_absence_is_one_sentence(run, place, bundle):
    missing = "device cuda needs TensorrtExecutionProvider, found"
    ended = run("harmonize", "composite.png", "mask.png", "-o", "out.png", "--bundle", bundle, *ON_GPU)
    assert ended.code == 2
    assert missing in ended.error
    where = {"backend": "onnxruntime", "device": "cuda", "provider": "tensorrt"}

    def evaluated():
        with opened(Run(str(bundle), **where)):
            pass

    for one in (
        lambda: load(Case("engine", str(bundle), 32, 32, **where)),
        lambda: load(Case("picture", str(bundle), 40, 40, **where)),
        evaluated,
        lambda: HarmonizeJob(bundle_source(str(bundle)), "out", engine=Engine(**where)).open(),
        lambda: Service.open(Settings((bundle,), port=0, threads=1, **where)),
    ):
        with pytest.raises(HarmonyError, match=missing):
            one()


@pytest.mark.parametrize("verb", ["harmonize", "bench", "verify", "evaluate", "video", "serve", "batch"])
def test_every_verb_knows_the_providers_by_name(run, verb):
    ended = run(verb, "--provider", "rocm")
    assert ended.code == 2
    assert "is not one of 'cuda', 'tensorrt'" in ended.error


def test_a_provider_of_another_backend_is_refused(run, place, bundle):
    words = ("harmonize", "composite.png", "mask.png", "-o", "out.png", "--bundle", bundle, "--provider", "cuda")
    ended = run(*words)
    assert ended.code == 2
    assert "provider is ONNX Runtime's, and backend is 'auto'" in ended.error
    with pytest.raises(HarmonyError, match="provider is ONNX Runtime's, and backend is 'openvino'"):
        load(Case("engine", str(bundle), 32, 32, backend="openvino", provider="cuda"))
