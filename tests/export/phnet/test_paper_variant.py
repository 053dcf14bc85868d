"""The paper's variant, exported by the same rules: no loop over patches, no scatter, the same function."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save_file

from harmonyrt.export import rewrites
from harmonyrt.export.phnet import to_onnx
from harmonyrt.models import PHNet, PHNetConfig

NARROW = (3, 8, 8, 16, 16, 32, 32)
SETUPS = {
    "D4-6 without PFE": {"extractor": False},
    "D6": {"grid_count": (5,)},
    "D5-6": {"grid_count": (4, 5)},
    "D3-6, residual": {"grid_count": (2, 3, 4, 5), "output": "residual"},
    "no PN": {"grid_count": ()},
}


def network_of(**changes) -> PHNet:
    """Random weights, with scores and factors that no term can hide behind."""
    torch.manual_seed(0)
    network = PHNet(PHNetConfig(enc_sizes=NARROW, variant="paper", **changes)).eval().requires_grad_(False)
    for normalizer in network.normalizers:
        for parameter in normalizer.parameters():
            parameter.add_(0.1 * torch.rand_like(parameter))
    if network.config.output == "residual":
        torch.nn.init.normal_(network.decoder[-1][0].weight, std=0.05)
    return network


@pytest.fixture(scope="module")
def traced():
    """The paper's best setup and its trace."""
    network = network_of()
    return network, to_onnx.trace(network)


def check(network, trace, run_onnx, size, names, shape):
    graph = to_onnx.export_phnet(trace, size, names)
    kinds = {node.op_type for node in graph.graph.node}
    assert not {kind for kind in kinds if kind in ("Loop", "If", "Scan") or "Scatter" in kind}
    assert [value.name for value in graph.graph.input] == ["image", "mask"]
    onnx.checker.check_model(graph)
    rng = np.random.default_rng(1)
    batch, height, width = shape
    image = rng.random((batch, 3, height, width), np.float32)
    mask = np.zeros((batch, 1, height, width), np.float32)
    mask[:, :, height // 4 : height // 2, width // 3 :] = 1
    expected = network(torch.from_numpy(image), torch.from_numpy(mask)).numpy()
    (output,) = run_onnx(graph, image=image, mask=mask)
    np.testing.assert_allclose(output, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "names", "shape"),
    [
        ((72, 64), rewrites.names_of(["none"]), (1, 72, 64)),
        ((72, 64), rewrites.names_of(["fast"]), (1, 72, 64)),
        (None, rewrites.names_of(["low-memory"]), (2, 40, 88)),
        (None, rewrites.names_of(["low-memory"]), (1, 16, 24)),
    ],
)
def test_its_graph_is_the_network(traced, run_onnx, size, names, shape):
    check(*traced, run_onnx, size, names, shape)


@pytest.mark.slow
@pytest.mark.parametrize("setup", SETUPS)
def test_every_setup_of_table_1_is_exported(run_onnx, setup):
    network = network_of(**SETUPS[setup])
    trace = to_onnx.trace(network)
    check(network, trace, run_onnx, (72, 64), rewrites.names_of(["fast"]), (1, 72, 64))
    check(network, trace, run_onnx, None, rewrites.names_of(["fast"]), (2, 40, 48))


@pytest.mark.slow
def test_it_builds_and_passes_the_gates(traced, command, tmp_path, monkeypatch):
    network, trace = traced
    monkeypatch.setattr(to_onnx, "trace", lambda network: trace)
    weights = tmp_path / "paper.safetensors"  # in float32, as the trace has them
    save_file(network.state_dict(), weights)
    code, out, error = command(
        *("phnet", "--checkpoint", weights, "--output", tmp_path / "engines", "--sizes", "64"),
        *("--precisions", "fp32", "fp16", "bf16", "int8", "--targets", "onnx", "openvino"),
    )
    assert code == 0, out + error
    built = {path.name for path in (tmp_path / "engines").iterdir() if not path.name.startswith(".")}
    assert built == {f"phnet-64-{precision}" for precision in ("fp32", "fp16", "bf16", "int8")}
