"""What is timed of a CPU is what its name says."""

import pytest

from harmonyrt.runtime import cpu_probe, native, openvino_core


@pytest.fixture
def openvino():
    return pytest.importorskip("openvino")


def test_native_kernels_of_another_openvino_are_not_measured(openvino, monkeypatch, tmp_path):
    monkeypatch.setenv(native.VARIABLE, str(tmp_path))
    assert cpu_probe._with_kernels(openvino) == []
    (tmp_path / "libharmonyrt_native_openvino.so").write_bytes(b"no library")
    assert cpu_probe._with_kernels(openvino) == []


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_the_native_kernels_are_what_is_measured_under_their_name(openvino, precision):
    reason = native.why_not(native.NEEDED[precision], "openvino", precision)
    if reason is not None:
        pytest.skip(reason)
    assert precision in cpu_probe._with_kernels(openvino)
    request = cpu_probe._request(openvino, openvino_core.core(openvino), f"{precision} native")
    info = [node.get_rt_info() for node in request.get_compiled_model().get_runtime_model().get_ops()]
    ours = [one for one in info if str(one["layerType"].get()) == "Reference"]
    assert [str(one["runtimePrecision"].get()) for one in ours] == ["bf16" if precision == "bf16" else "f32"] * 2


@pytest.mark.parametrize("name", ["fp32", "fp32 winograd", "bf16", "bf16 winograd", "int8"])
def test_what_is_measured_computes_in_the_precision_that_it_is_called_by(openvino, name):
    core = openvino_core.core(openvino)
    precision = name.split()[0]
    if {"fp32": "FP32", "bf16": "BF16", "int8": "INT8"}[precision] not in core.get_property(
        "CPU", "OPTIMIZATION_CAPABILITIES"
    ):
        pytest.skip(f"this CPU has no {precision}")
    graph = cpu_probe._request(openvino, core, name).get_compiled_model().get_runtime_model()
    info = [node.get_rt_info() for node in graph.get_ops()]
    kind = "MatMul" if "winograd" in name else "Convolution"
    found = [str(one["runtimePrecision"].get()) for one in info if str(one["layerType"].get()) == kind]
    kernels = [str(one["primitiveType"].get()) for one in info if str(one["layerType"].get()) == kind]
    assert len(found) == (6 if "winograd" in name else 2)
    wanted = {"fp32": ("f32",), "bf16": ("bf16",), "int8": ("u8", "i8")}[precision]
    assert all(one in wanted for one in found), kernels
