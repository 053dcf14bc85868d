"""Replicas and compiled processes: the same gradients as one network on the whole batch."""

from __future__ import annotations

import shutil

import pytest
import torch
from torch import nn

from harmonyrt.common import HarmonyError
from harmonyrt.training.parallel import CompiledProcesses, Replicas


def _network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 1))


def _loss(network, part):
    image, target = part
    return (network(image) - target).square().mean()


@pytest.mark.parametrize(("replicas", "samples"), [(2, 8), (3, 7), (4, 2)])
def test_gradients_are_those_of_the_whole_batch(replicas, samples):
    batch = torch.rand(samples, 3, 8, 8), torch.rand(samples, 3, 8, 8)
    alone, together = _network(), _network()
    expected = _loss(alone, batch)
    expected.backward()
    pool = Replicas(together, replicas)
    loss = pool.backward(_loss, batch)
    pool.close()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    for a, b in zip(alone.parameters(), together.parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, rtol=1e-4, atol=1e-7)


def test_replicas_follow_the_network():
    network = _network()
    pool = Replicas(network, 2)
    with torch.no_grad():
        network[0].weight.mul_(2)
    assert torch.equal(pool.networks[1][0].weight, network[0].weight)
    pool.close()


def test_an_error_in_a_thread_is_raised():
    pool = Replicas(_network(), 2)
    with pytest.raises(ZeroDivisionError):
        pool.backward(lambda network, part: 1 / 0, (torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)))
    pool.close()


@pytest.fixture
def compiled():
    if not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("needs a C++ compiler")
    network = _network().append(nn.BatchNorm2d(3).eval())  # settled statistics, as in a run's last stage
    pool = CompiledProcesses(network, 2)
    yield network, pool
    pool.close()


@pytest.mark.slow
def test_compiled_processes_give_the_gradients_of_the_whole_batch_and_follow_the_network(compiled):
    together, pool = compiled
    alone = _network().append(nn.BatchNorm2d(3).eval())
    for samples in (5, 5):
        batch = torch.rand(samples, 3, 8, 8), torch.rand(samples, 3, 8, 8)
        alone.zero_grad()
        expected = _loss(alone, batch)
        expected.backward()
        assert pool.backward(_loss, batch) == pytest.approx(expected.item(), rel=1e-5)
        for a, b in zip(alone.parameters(), together.parameters(), strict=True):
            assert torch.allclose(a.grad, b.grad, rtol=1e-4, atol=1e-7)
            with torch.no_grad():  # a step, in the memory that the helper shares
                a -= 0.1 * a.grad
                b -= 0.1 * b.grad


@pytest.mark.slow
def test_a_frozen_parameter_loses_the_gradient_of_an_earlier_stage(compiled):
    network, pool = compiled
    network[0].requires_grad_(False)
    network[0].weight.grad = torch.ones_like(network[0].weight)
    pool.backward(_loss, (torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)))
    assert network[0].weight.grad is None
    assert network[2].weight.grad is not None


def test_a_dead_helper_ends_the_run_with_a_sentence(compiled):
    _, pool = compiled
    pool.helpers[0][0].kill()
    pool.helpers[0][0].join()
    with pytest.raises(HarmonyError, match="has died; run the same command again"):
        pool.backward(_loss, (torch.rand(4, 3, 8, 8), torch.rand(4, 3, 8, 8)))


@pytest.mark.slow
def test_closing_ends_the_helpers_and_leaves_the_network_and_threads_as_they_were(compiled):
    network, pool = compiled
    assert torch.get_num_threads() == 1
    pool.close()
    assert torch.get_num_threads() == pool.threads_before
    assert not any(process.is_alive() for process, _, _ in pool.helpers)
    assert network._compiled_call_impl is None
