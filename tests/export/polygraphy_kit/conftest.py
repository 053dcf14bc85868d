"""Folders for Polygraphy of the tiny network in three precisions, and a way to run the commands of their READMEs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PRECISIONS = ("fp32", "fp16", "int8")


@pytest.fixture(scope="session")
def kits(made_once, tiny_checkpoint, tiny_trace) -> dict[str, Path]:
    """Folders that `harmonyrt polygraphy` wrote, by precision; not to be changed."""
    from harmonyrt.cli.main import main
    from harmonyrt.export.phnet import session, to_onnx

    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(to_onnx, "trace", lambda network: tiny_trace())
            patch.setattr(session, "CALIBRATION_COMPOSITES", 4)
            given = ["--checkpoint", str(tiny_checkpoint)]
            built = ["build", "phnet", *given, "--sizes", "64", "--precisions", *PRECISIONS, "--targets", "onnx"]
            assert main([*built, "--threads", "1", "--output", str(folder / "engines")]) == 0
            for one in PRECISIONS:
                bundle = folder / "engines" / f"phnet-64-{one}"
                assert main(["polygraphy", str(bundle), *given, "-o", str(folder / one)]) == 0

    folder = made_once("polygraphy-kits", make)
    return {one: folder / one for one in PRECISIONS}


@pytest.fixture(scope="session")
def shell(tmp_path_factory):
    """shell(folder, command) -> the ended process; `polygraphy` there is this environment's, and TensorRT for RTX is
    found by the name that NVIDIA's own package gives it."""
    place = tmp_path_factory.mktemp("bin")
    program = place / "polygraphy"
    program.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "import sys; from polygraphy.tools import main; sys.exit(main())" "$@"\n'
    )
    program.chmod(0o755)
    names = "from tensorrt_rtx_bindings import *\nfrom tensorrt_rtx_bindings import __version__\n"
    (place / "tensorrt_rtx.py").write_text(names)

    def run(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
        path = f"{place}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "PYTHONPATH": str(place), "PYTHONWARNINGS": "ignore"}
        return subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True)

    return run


@pytest.fixture(scope="session")
def commands():
    """commands(folder, title) -> the lines of a part of its README."""

    def find(folder: Path, title: str) -> list[str]:
        text = (folder / "README.md").read_text()
        found = re.search(rf"^## {re.escape(title)}\n.*?```sh\n(.*?)\n```", text, re.M | re.S)
        assert found, f"{folder} has no part {title!r}"
        return found[1].splitlines()

    return find
