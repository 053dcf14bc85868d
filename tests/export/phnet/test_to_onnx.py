"""The exported graph computes what the published network computes, on every golden case, and is clean."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch

from fakes import native_engines
from harmonyrt.export.build.gate import LOWEST_PSNR_DB
from harmonyrt.export.phnet import to_onnx
from harmonyrt.export.precision import precision_counts, typed_graph
from harmonyrt.export.precision.mark_islands import is_convolution
from harmonyrt.export.rewrites import DEFAULT, KERNELS, LOW_MEMORY, REWRITES
from harmonyrt.export.rewrites.native import is_fused
from harmonyrt.models import PHNet
from harmonyrt.runtime import native, openvino_core
from harmonyrt.runtime.backends import onnxruntime as onnxruntime_backend
from harmonyrt.runtime.backends import openvino as openvino_backend

MODELS = ("phnet", "phnet_iharmony4")
GOLDEN_ONNX_TOLERANCE = 1e-4
PLAIN = [name for name in REWRITES if name not in KERNELS]
"""All but those whose operators need libraries of our own."""


def test_the_dynamic_graph_reproduces_every_golden_case(golden, golden_graph, run_onnx, phnet_case):
    data = golden.case(phnet_case)
    image, mask = golden.phnet_inputs(data)
    model = golden_graph(data["meta"].get("model", "phnet"), None)
    (output,) = run_onnx(model, image=image, mask=mask)
    assert golden.phnet_error(output, data) <= GOLDEN_ONNX_TOLERANCE


@pytest.mark.parametrize("case", ["phnet_odd264x248", "phnet_tiny_mask128", "phnet_iharmony4_m256"])
def test_static_graphs_reproduce_golden_cases(golden, golden_graph, run_onnx, case):
    data = golden.case(case)
    image, mask = golden.phnet_inputs(data)
    model = golden_graph(data["meta"].get("model", "phnet"), image.shape[-2:])
    (output,) = run_onnx(model, image=image, mask=mask)
    assert golden.phnet_error(output, data) <= GOLDEN_ONNX_TOLERANCE


def _one_by_one(run_onnx, model: onnx.ModelProto, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Static graphs take one picture at a time."""
    return np.concatenate([run_onnx(model, image=i[None], mask=m[None])[0] for i, m in zip(image, mask, strict=True)])


@pytest.mark.parametrize("name", PLAIN)
def test_each_rewrite_keeps_the_function(golden, golden_graph, run_onnx, name):
    data = golden.case("phnet_iharmony4_batch3_64")
    image, mask = golden.phnet_inputs(data)
    model = golden_graph("phnet_iharmony4", image.shape[-2:], (name,))
    assert golden.phnet_error(_one_by_one(run_onnx, model, image, mask), data) <= GOLDEN_ONNX_TOLERANCE


def test_all_rewrites_together_reproduce_every_golden_case(golden, golden_graph, run_onnx, phnet_case):
    """In FP32 at 90 dB and better."""
    data = golden.case(phnet_case)
    image, mask = golden.phnet_inputs(data)
    model = golden_graph(data["meta"].get("model", "phnet"), image.shape[-2:], tuple(PLAIN))
    output = _one_by_one(run_onnx, model, image, mask)
    assert golden.phnet_error(output, data) <= GOLDEN_ONNX_TOLERANCE
    if "output" in data:
        assert 10 * np.log10(1 / np.mean((output - data["output"]) ** 2)) >= 90


def _run_openvino(model: onnx.ModelProto, feeds: dict[str, np.ndarray], hint: str = "f32") -> np.ndarray:
    openvino = pytest.importorskip("openvino")
    core = openvino_core.core(openvino)
    openvino_backend.add_native_kernels({native.NEED: native.VERSION})
    settings = {"INFERENCE_PRECISION_HINT": hint}
    return core.compile_model(core.read_model(model.SerializeToString()), "CPU", settings)(feeds)[0]


def _run_onnxruntime(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> np.ndarray:
    settings = onnxruntime.SessionOptions()
    onnxruntime_backend.add_native_kernels(settings, {native.NEED: native.VERSION})
    return onnxruntime.InferenceSession(model.SerializeToString(), settings).run(None, feeds)[0]


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("case", ["phnet_odd264x248", "phnet_iharmony4_m256"])
def test_native_kernels_reproduce_golden_cases(golden, golden_graph, case, backend):
    if native.library(backend) is None:
        pytest.skip("needs the native kernels in C++: run make native")
    data = golden.case(case)
    image, mask = golden.phnet_inputs(data)
    model = golden_graph(data["meta"].get("model", "phnet"), image.shape[-2:], (*LOW_MEMORY, "fused-convolutions"))
    assert Counter(node.op_type for node in model.graph.node)["FusedConvolution"] >= 15
    run = {"openvino": _run_openvino, "onnxruntime": _run_onnxruntime}[backend]
    assert golden.phnet_error(run(model, {"image": image, "mask": mask}), data) <= GOLDEN_ONNX_TOLERANCE


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_libharmonyrt_reproduces_a_golden_case_with_native_kernels(golden, golden_graph, backend, tmp_path):
    if (reason := native_engines.why_not(backend)) is not None:
        pytest.skip(reason)
    data = golden.case("phnet_odd264x248")
    image, mask = golden.phnet_inputs(data)
    model = golden_graph(data["meta"].get("model", "phnet"), image.shape[-2:], (*LOW_MEMORY, "fused-convolutions"))
    bundle = native_engines.bundle_of(model, backend, tmp_path / "bundle")
    (tmp_path / "work").mkdir()
    output, notes = native_engines.run(bundle, backend, image, mask, tmp_path / "work")
    assert f"opened {backend} ({native_engines.TARGET[backend]} fp32 native, cpu)" in notes
    assert golden.phnet_error(output, data) <= GOLDEN_ONNX_TOLERANCE


@pytest.mark.skipif(
    native.why_not(native.VERSION, precision="bf16") is not None,
    reason="needs the native kernels in C++ (run make native) and a CPU with AVX512-BF16",
)
def test_native_kernels_in_bf16_pass_the_gate_on_a_golden_case(golden, golden_graph):
    data = golden.case("phnet_iharmony4_batch3_64")
    image, mask = golden.phnet_inputs(data)
    model = golden_graph("phnet_iharmony4", image.shape[-2:], (*LOW_MEMORY, "fused-convolutions"))
    typed = typed_graph(ir.from_proto(model), "bf16", lambda node: is_convolution(node) or is_fused(node))
    assert precision_counts(typed, is_fused).keys() == {"bfloat16"}
    output = _run_openvino(ir.to_proto(typed), {"image": image[:1], "mask": mask[:1]}, "bf16")
    assert 10 * np.log10(1 / np.mean((output - data["output"][:1]) ** 2)) >= LOWEST_PSNR_DB["bf16"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("shape", [(1, 16, 16), (2, 24, 40)])
def test_the_dynamic_graph_takes_small_pictures_and_batches(golden_network, golden_graph, run_onnx, model, shape):
    batch, height, width = shape
    rng = np.random.default_rng(0)
    image = rng.random((batch, 3, height, width), np.float32)
    mask = (rng.random((batch, 1, height, width)) > 0.5).astype(np.float32)
    expected = golden_network(model)(torch.from_numpy(image), torch.from_numpy(mask)).numpy()
    (output,) = run_onnx(golden_graph(model, None), image=image, mask=mask)
    np.testing.assert_allclose(output, expected, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(64, 48), None])
def test_shrunk_patch_means_are_exported(golden_network, run_onnx, size):
    published = golden_network("phnet_iharmony4")
    network = PHNet(dataclasses.replace(published.config, patch_shrinkage=0.1)).eval()
    network.load_state_dict(published.state_dict())
    rng = np.random.default_rng(2)
    image = rng.random((1, 3, 64, 48), np.float32)
    mask = np.zeros((1, 1, 64, 48), np.float32)
    mask[..., 9:41, 7:29] = 1
    tensors = torch.from_numpy(image), torch.from_numpy(mask)
    with torch.no_grad():
        expected = network(*tensors).numpy()
        assert np.abs(expected - published(*tensors).numpy()).max() > 1e-3
    model = to_onnx.export_phnet(to_onnx.trace(network), size, DEFAULT if size else to_onnx.rewriting.LOW_MEMORY)
    np.testing.assert_allclose(run_onnx(model, image=image, mask=mask)[0], expected, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(64, 48), None])
def test_a_shrunk_change_is_exported(golden_network, run_onnx, size):
    published = golden_network("phnet_iharmony4")
    network = PHNet(dataclasses.replace(published.config, output="residual", change_shrinkage=0.5)).eval()
    network.load_state_dict(published.state_dict())
    with torch.no_grad():
        for parameter in network.decoder[-1].parameters():
            parameter *= 0.1  # to a change that is small
    rng = np.random.default_rng(3)
    image = rng.random((2, 3, 64, 48), np.float32)
    mask = np.zeros((2, 1, 64, 48), np.float32)
    mask[0, :, 9:41, 7:29] = 1
    mask[1, :, 20:50, 30:40] = 0.5
    tensors = torch.from_numpy(image), torch.from_numpy(mask)
    with torch.no_grad():
        expected = network(*tensors).numpy()
    whole = PHNet(dataclasses.replace(network.config, change_shrinkage=0.0)).eval()
    whole.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert np.abs(expected - whole(*tensors).numpy()).max() > 1e-3
    batches = (slice(0, 1), slice(1, 2)) if size else (slice(0, 2),)
    model = to_onnx.export_phnet(to_onnx.trace(network), size, DEFAULT if size else to_onnx.rewriting.LOW_MEMORY)
    for part in batches:
        np.testing.assert_allclose(run_onnx(model, image=image[part], mask=mask[part])[0], expected[part], atol=1e-4)


@pytest.mark.parametrize("kind", ["empty", "full", "one even pixel", "one odd pixel"])
@pytest.mark.parametrize("size", [(128, 128), None])
def test_extreme_masks_stay_finite_and_close(golden_network, golden_graph, run_onnx, kind, size):
    image = np.random.default_rng(1).random((1, 3, 128, 128), np.float32)
    mask = np.full((1, 1, 128, 128), kind == "full", np.float32)
    if "pixel" in kind:
        mask[0, 0, 40 + ("odd" in kind), 60 + ("odd" in kind)] = 1
    expected = golden_network("phnet_iharmony4")(torch.from_numpy(image), torch.from_numpy(mask)).numpy()
    (output,) = run_onnx(golden_graph("phnet_iharmony4", size), image=image, mask=mask)
    assert np.isfinite(output).all()
    np.testing.assert_allclose(output, expected, atol=1e-4)


def _with_feature_extractor_output(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph that ends at the feature extractor: ONNX Runtime's max pooling would hide a NaN in the full one."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    (head,) = (n for n in probe.graph.node if n.op_type == "Relu" and n.name.startswith("feature_extractor"))
    del probe.graph.output[:]
    probe.graph.output.append(onnx.helper.make_tensor_value_info(head.output[0], onnx.TensorProto.FLOAT, None))
    return probe


@pytest.mark.parametrize("size", [(128, 128), None])
def test_patches_without_variance_give_no_nan(golden_network, golden_graph, run_onnx, size):
    """Exporters have dropped the 1e-8 that keeps 0/0 away: here most patches hold no foreground, two no background."""
    image = np.full((1, 3, 128, 128), 0.5, np.float32)
    mask = np.zeros((1, 1, 128, 128), np.float32)
    mask[..., :60, :30] = 1
    network = golden_network("phnet_iharmony4").feature_extractor
    expected = network(torch.from_numpy(image), torch.from_numpy(mask)).numpy()
    probe = _with_feature_extractor_output(golden_graph("phnet_iharmony4", size))
    (extracted,) = run_onnx(probe, image=image, mask=mask)
    assert np.isfinite(extracted).all()
    np.testing.assert_allclose(extracted, expected, atol=1e-4)


@pytest.mark.parametrize("size", [(768, 512), None])
def test_statistics_of_large_pictures_keep_their_digits(golden_network, golden_graph, run_onnx, size):
    """ONNX Runtime adds number after number: sums over a whole plane at once lost four digits."""
    image = np.random.default_rng(2).random((1, 3, 768, 512), np.float32) ** 2
    mask = np.zeros((1, 1, 768, 512), np.float32)
    mask[..., 300:420, 200:300] = 1
    network = golden_network("phnet_iharmony4").feature_extractor
    expected = network(torch.from_numpy(image), torch.from_numpy(mask)).numpy()
    (extracted,) = run_onnx(
        _with_feature_extractor_output(golden_graph("phnet_iharmony4", size)), image=image, mask=mask
    )
    assert np.abs(extracted - expected).max() < 2e-5 * np.abs(expected).max()


@pytest.mark.parametrize("size", [(256, 256), (264, 248), None])
@pytest.mark.parametrize("model", MODELS)
def test_the_graph_is_clean(golden_graph, model, size):
    graph = golden_graph(model, size).graph
    operators = Counter(node.op_type for node in graph.node)
    forbidden = {"Loop", "Scan", "If", "ScatterND", "ScatterElements", "BatchNormalization", "CastLike", "Expand"}
    assert not forbidden & operators.keys()
    assert operators["InstanceNormalization"] == 6
    assert operators["ConvTranspose"] == 3  # those of stride 2
    if size is not None:
        assert operators["Slice"] <= 4  # the mask pyramid
        assert not {"Shape", "Range", "Cast"} & operators.keys()
        assert len(graph.node) <= 284  # 39.9 M; sums over pictures are two each


@pytest.mark.parametrize("model", MODELS)
def test_the_default_graph_is_winograd_where_channels_are_many(golden_graph, model):
    """No file grows by it: what is transformed of the weights is transformed when they are loaded."""
    graph = golden_graph(model, (256, 256), DEFAULT).graph
    operators = Counter(node.op_type for node in graph.node)
    assert operators["ConvTranspose"] == 0
    assert operators["Conv"] < Counter(n.op_type for n in golden_graph(model, (256, 256)).graph.node)["Conv"]
    assert not {"Loop", "ScatterND", "Shape", "Range", "Cast", "Expand"} & operators.keys()
    plain = sum(np.prod(t.dims, dtype=int) for t in golden_graph(model, (256, 256)).graph.initializer)
    assert sum(np.prod(t.dims, dtype=int) for t in graph.initializer) < 1.01 * plain


def test_nothing_of_the_dead_parameters_is_left(golden_graph):
    names = {tensor.name for tensor in golden_graph("phnet_iharmony4", (256, 256)).graph.initializer}
    assert not [n for n in names if n.startswith(("normalizers.2.", "skip.6."))]
    assert not [n for n in names if n.startswith("encoder.") and n.endswith(".bias")]


def test_nodes_are_named_by_module_and_the_file_names_no_machine(golden_graph):
    model = golden_graph("phnet_iharmony4", (256, 256))
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    for module in ("feature_extractor", "encoder.0.0", "encoder.3.1", "SE_block", "normalizers.1", "skip.0.rconv"):
        assert any(name.startswith(f"{module}/") for name in names), module
    skeleton = onnx.ModelProto()
    skeleton.CopyFrom(model)
    del skeleton.graph.initializer[:]
    assert b"/site-packages" not in skeleton.SerializeToString()
    assert not [node for node in model.graph.node if node.metadata_props]


def test_sizes_and_names_of_inputs_and_output(golden_graph):
    def shapes(model):
        return {
            value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
            for value in (*model.graph.input, *model.graph.output)
        }

    assert shapes(golden_graph("phnet_iharmony4", (256, 256))) == {
        "image": [1, 3, 256, 256],
        "mask": [1, 1, 256, 256],
        "output": [1, 3, 256, 256],
    }
    assert shapes(golden_graph("phnet_iharmony4", None)) == {
        "image": ["batch", 3, "height", "width"],
        "mask": ["batch", 1, "height", "width"],
        "output": ["batch", 3, "height", "width"],
    }
