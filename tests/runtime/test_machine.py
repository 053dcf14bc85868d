"""How many cores a process may use."""

import os

import pytest

from harmonyrt.runtime import machine


@pytest.fixture
def root(tmp_path):
    """Makes a tree that looks like / to `cores_by_quota`: root({path: contents})."""

    def make(files):
        for path, contents in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(contents)
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "50000 100000\n"}, 0.5),
        # a group around it has less
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
                "sys/fs/cgroup/a/cpu.max": "200000 100000\n",
                "sys/fs/cgroup/cpu.max": "400000 100000\n",
            },
            2.0,
        ),
        # a container: the path is the host's, the mount its own group
        ({"proc/self/cgroup": "0::/docker/1f\n", "sys/fs/cgroup/cpu.max": "300000 100000\n"}, 3.0),
        (
            {
                "proc/self/cgroup": "5:memory:/x\n4:cpu,cpuacct:/x\n0::/x\n",
                "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us": "250000\n",
                "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            2.5,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu:/x\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            1.0,
        ),
        ({"proc/self/cgroup": "0::/\nnonsense\n", "sys/fs/cgroup/cpu.max": "nonsense"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "1000 0"}, None),
    ],
)
def test_the_quota_of_both_versions_of_control_groups_is_read(root, files, expected):
    assert machine.cores_by_quota(root(files)) == expected


@pytest.mark.parametrize(("quota", "expected"), [(None, 4), (0.2, 1), (1.0, 1), (1.5, 2), (3.01, 4), (16.0, 4)])
def test_a_fraction_of_a_core_counts_as_one(monkeypatch, quota, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 3, 4, 7}, raising=False)
    monkeypatch.setattr(machine, "cores_by_quota", lambda: quota)
    assert machine.cores() == expected


@pytest.mark.parametrize(("threads", "expected"), [(None, 1), (3, 3)])
def test_engines_get_the_cores_that_the_process_may_use(static_bundle, monkeypatch, threads, expected):
    ort = pytest.importorskip("onnxruntime")
    from harmonyrt.runtime import Harmonizer
    from harmonyrt.runtime.backends import onnxruntime

    monkeypatch.setattr(onnxruntime, "cores", lambda: 1)
    given, opened = [], ort.InferenceSession

    def spy(path, settings, **rest):
        given.append(settings.intra_op_num_threads)
        return opened(path, settings, **rest)

    monkeypatch.setattr(ort, "InferenceSession", spy)
    Harmonizer.open(static_bundle, backend="onnxruntime", threads=threads).close()
    assert given == [expected]


def test_openvino_gets_the_cores_that_the_process_may_use(static_bundle, monkeypatch):
    ov = pytest.importorskip("openvino")
    from harmonyrt.runtime import Harmonizer
    from harmonyrt.runtime.backends import openvino

    monkeypatch.setattr(openvino, "cores", lambda: 1)
    given, compiled = [], ov.Core.compile_model

    def spy(core, model, device, settings):
        given.append(settings["INFERENCE_NUM_THREADS"])
        return compiled(core, model, device, settings)

    monkeypatch.setattr(ov.Core, "compile_model", spy)
    Harmonizer.open(static_bundle, backend="openvino", cache="").close()
    assert given == [1]
