"""What `make bench-peers` prepares and times, with stand-ins for builds and converters."""

from pathlib import Path

import pytest

from harmonyrt.benchmarks.peers import __main__ as command
from harmonyrt.benchmarks.peers.libraries import PEERS

CONVERTER = """#!/bin/sh
library=$4
echo $library >> asked
while [ $# -gt 1 ]; do shift; done
[ $library = MNN ] && : > "$1/model.mnn" && exit 0
echo chatter >&2
echo "error: $library lacks it" >&2
exit 1
"""


@pytest.fixture
def prepared(tmp_path, monkeypatch) -> tuple[dict[str, str], Path]:
    """Reasons and folder, after converters of which only MNN's works; each says which library it was asked for."""
    monkeypatch.setattr(command, "_run", lambda *asked, **more: None)
    monkeypatch.setattr(command.native, "why_not", lambda needed, backend: None)
    python = tmp_path / "python"
    python.write_text(CONVERTER)
    python.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "golden.pth").touch()
    return command.prepare(tmp_path / "golden.pth", 64, tmp_path, str(python)), tmp_path


def test_what_does_not_convert_is_named_and_not_tried_again(prepared):
    reasons, folder = prepared
    converted = {name: why for name, why in reasons.items() if not name.startswith("HarmonyRT")}
    assert converted == {"ncnn": "ncnn lacks it", "litert": "litert lacks it"}
    precisions = {"fp32", "bf16", "int8"}
    native = {f"HarmonyRT native {precision}" for precision in precisions}
    assert set(reasons) - set(converted) == {f"HarmonyRT {precision}" for precision in precisions} | native
    assert (folder / "asked").read_text().split() == ["ncnn", "MNN", "litert"]
    assert command.prepare(folder / "golden.pth", 64, folder, str(folder / "python")) == reasons
    assert (folder / "asked").read_text().split() == ["ncnn", "MNN", "litert"]


def test_all_that_is_there_is_timed_and_eager_pytorch_comes_first(prepared):
    reasons, folder = prepared
    ours = [folder / kind / "phnet-64-int8" for kind in ("ours", "native")]
    for bundle in ours:
        bundle.mkdir(parents=True)
        (bundle / "manifest.json").touch()
    sides = command.cases(folder / "golden.pth", 64, 2, folder, "peers-python", tuple(reasons))
    assert (sides[0].kind, sides[0].mode) == ("torch", "eager")
    assert [side.path for side in sides if side.kind == "engine"] == [str(bundle) for bundle in ours]
    peers = {side.mode: side for side in sides if side.kind == "peer"}
    assert set(peers) == {peer.name for peer in PEERS if peer.library not in reasons}
    assert peers["MNN precision high"].python == "peers-python"
    assert peers["onnxruntime plain"].python is None
    assert {side.threads for side in sides} == {2}


def test_native_engines_are_built_where_there_are_kernels_and_else_named(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(command, "_run", lambda build, *more, **rest: asked.append([*build, *more]))
    monkeypatch.setattr(command, "CONVERTERS", {})
    (tmp_path / "golden.pth").touch()
    for lacking, builds in ((None, 1), ("it needs the native kernels: run make native", 0)):
        asked.clear()
        monkeypatch.setattr(command.native, "why_not", lambda needed, backend, lacking=lacking: lacking)
        reasons = command.prepare(tmp_path / "golden.pth", 64, tmp_path, "python")
        native = [one for one in asked if "native" in one]
        assert len(native) == builds
        assert all(one[-1] == str(tmp_path / "native") for one in native)
        assert reasons.get("HarmonyRT native") == lacking
    (tmp_path / "native/phnet-64-fp32").mkdir(parents=True)  # of another day, when there were kernels
    (tmp_path / "native/phnet-64-fp32/manifest.json").touch()
    sides = command.cases(tmp_path / "golden.pth", 64, 1, tmp_path, "python", tuple(reasons))
    assert [side for side in sides if side.kind == "engine"] == []
