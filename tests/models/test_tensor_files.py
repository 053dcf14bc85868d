"""Checkpoints as frameworks save them, and files that are something else: by content, never by suffix."""

from __future__ import annotations

import collections
import copy
import gzip
import os
import sys

import pytest
import torch
from safetensors.torch import save, save_file

from harmonyrt.common import HarmonyError
from harmonyrt.models import PHNet, PHNetConfig, load_phnet, tensor_files
from harmonyrt.models.checkpoints import Meaning, open_phnet

CONFIG = PHNetConfig(enc_sizes=(3, 8, 8, 8, 8, 8, 16), grid_count=(2, 2, 1))
FIRST = "encoder.0.0.weight"


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return PHNet(CONFIG).state_dict()


def opened(path):
    return open_phnet(path, Meaning("sigmoid"))


def saved(tmp_path, contents, name="net.pth"):
    torch.save(contents, tmp_path / name)
    return tmp_path / name


def prefixed(prefix, state):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def same(path, state):
    found = opened(path).network.state_dict()
    return found.keys() == state.keys() and all(torch.equal(found[name], value) for name, value in state.items())


@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "module._orig_mod.", "model.", "net.", "net._orig_mod.", "a.b.c.", "encoder_net."],
)
@pytest.mark.parametrize("wrapper", [None, "state_dict", "params", "params_ema", "state_dict_ema", "net", "model", "x"])
def test_prefixes_and_wrappers_come_off(prefix, wrapper, state, tmp_path):
    contents = prefixed(prefix, state)
    path = saved(tmp_path, contents if wrapper is None else {wrapper: contents, "epoch": 3, "lr": [0.1]})
    assert same(path, state)
    assert opened(path).notes == ()


def test_wrapped_parts_of_a_network(state, tmp_path):
    """As torch.compile of a submodule and FSDP name them."""
    names = {
        n: n.replace("encoder.", "encoder._orig_mod.").replace("skip.", "_fsdp_wrapped_module.skip.") for n in state
    }
    assert same(saved(tmp_path, {names[name]: tensor for name, tensor in state.items()}), state)


def test_a_lightning_checkpoint(state, tmp_path):
    network = PHNet(CONFIG)
    network.load_state_dict(state)
    optimizer = torch.optim.AdamW(network.parameters())
    sum(p.sum() for p in network.parameters()).backward()
    optimizer.step()
    contents = {
        "state_dict": prefixed("model.", state),
        "optimizer_states": [optimizer.state_dict()],
        "callbacks": {"best": {"score": torch.zeros(())}},
        "hyper_parameters": collections.OrderedDict(width=8),
    }
    assert same(saved(tmp_path, contents), state)
    assert opened(saved(tmp_path, contents)).notes == ()


def test_averaged_model_of_torch(state, tmp_path):
    network = PHNet(CONFIG)
    network.load_state_dict(state)
    average = torch.optim.swa_utils.AveragedModel(network)
    assert "n_averaged" in average.state_dict()
    assert same(saved(tmp_path, average.state_dict()), state)


@pytest.mark.parametrize(
    ("raw", "averaged"),
    [
        ("params", "params_ema"),
        ("state_dict", "state_dict_ema"),
        ("model", "ema"),
        ("network", "average"),
        ("m", "swa"),
    ],
)
def test_raw_and_averaged_weights_in_one_file(raw, averaged, state, tmp_path):
    other = {name: tensor + 1 for name, tensor in state.items()}
    path = saved(tmp_path, {raw: prefixed("module.", other), averaged: prefixed("module.", state)})
    assert same(path, state)
    (note,) = opened(path).notes
    assert f"{averaged}.module, not {raw}.module" in note


def test_an_average_without_buffers_is_not_taken(state, tmp_path):
    parameters = {name for name, _ in PHNet(CONFIG).named_parameters()}
    average = {name: tensor + 1 for name, tensor in state.items() if name in parameters}
    assert same(saved(tmp_path, {"model": state, "model_ema": average}), state)


def test_several_networks_are_refused_unless_they_are_one(state, tmp_path):
    other = {name: tensor + 1 for name, tensor in state.items()}
    with pytest.raises(HarmonyError, match=r"several networks \(a, b\)"):
        opened(saved(tmp_path, {"a": state, "b": other}))
    assert same(saved(tmp_path, {"a": state, "b": copy.deepcopy(state)}), state)


def test_what_is_left_out_is_said(state, tmp_path):
    contents = {**prefixed("net.", state), "loss.vgg.0.weight": torch.zeros(3, 3)}
    (note,) = opened(saved(tmp_path, contents)).notes
    assert "loss.vgg.0.weight" in note


def test_the_suffix_does_not_decide(state, tmp_path):
    save_file(state, tmp_path / "net.pth")
    assert same(tmp_path / "net.pth", state)
    assert same(saved(tmp_path, state, "net.safetensors"), state)
    assert same(saved(tmp_path, state, "net.ckpt"), state)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "web page"),
        (b"\n  <html lang=en>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "Git LFS pointer"),
        (b"/annex/objects/SHA256E-s5--0.pth\n", "git-annex pointer"),
        (b'{"error": "gone"}', "JSON"),
        (gzip.compress(b"weights"), "gzip"),
        (b"GGUF\3\0\0\0", "GGUF"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
    ],
    ids=["page", "page with a blank line", "lfs", "annex", "json", "gzip", "gguf", "hdf5"],
)
@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
def test_other_things_are_named(content, words, name, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(HarmonyError, match=words) as caught:
        load_phnet(tmp_path / name)
    assert "\n" not in str(caught.value)


KINDS = {
    "int8": lambda t: (t * 100).round().to(torch.int8),
    "complex": lambda t: torch.complex(t, t),
    "bool": lambda t: t > 0,
    "no data": lambda t: torch.empty(t.shape, device="meta"),
    "NaN": lambda t: torch.full_like(t, torch.nan),
    "beyond float32": lambda t: torch.full_like(t, 1e300, dtype=torch.float64),
    "quantised": lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8),
}


@pytest.mark.parametrize("change", KINDS.values(), ids=KINDS)
def test_values_that_are_no_weights_are_refused(change, state, tmp_path):
    with pytest.raises(HarmonyError, match=FIRST) as caught:
        opened(saved(tmp_path, {**state, FIRST: change(state[FIRST])}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.to(torch.float8_e4m3fn),
        lambda t: t.to(torch.float8_e5m2),
        torch.Tensor.to_sparse,
        torch.Tensor.double,
    ],
    ids=["fp8 e4m3", "fp8 e5m2", "sparse", "float64"],
)
def test_what_can_be_converted_keeps_its_values(change, state, tmp_path):
    changed = change(state[FIRST])
    found = opened(saved(tmp_path, {**state, FIRST: changed})).network.state_dict()[FIRST]
    assert torch.equal(found, changed.to_dense().float())


def test_a_counter_that_overflowed_in_half_precision_is_harmless(state, tmp_path):
    name = "decoder.0.1.num_batches_tracked"
    halves = {**state, name: torch.tensor(70000).half()}
    assert opened(saved(tmp_path, halves)).network.state_dict()[name].dtype == torch.int64


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
@pytest.mark.parametrize("name", [b"caf\xe9/weights.safetensors", b"caf\xe9.safetensors"])
def test_a_checkpoint_whose_path_is_not_utf8(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(save({"a": torch.ones(2)}))
    tensors, _ = tensor_files._read_safetensors(path)
    assert tensors["a"].tolist() == [1, 1]
