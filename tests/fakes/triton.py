"""A stand-in for `triton_python_backend_utils`, and a real Triton on a free port where `make test-serve` set one up."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ENVIRONMENT = Path(__file__).resolve().parents[2] / ".venv-triton"


class Tensor:
    def __init__(self, name: str, array: Any) -> None:
        self.name, self.array = name, array

    def as_numpy(self) -> Any:
        return self.array


class TritonError:
    INTERNAL, INVALID_ARG = "internal", "invalid"

    def __init__(self, message: str, code: str) -> None:
        self.message, self.code = message, code


class TritonModelException(Exception):
    pass


class OldResponse:
    """Of releases whose answers have no parameters."""

    def __init__(self, output_tensors: Any = (), error: TritonError | None = None) -> None:
        self.tensors, self.error = list(output_tensors), error


class Response(OldResponse):
    def __init__(self, output_tensors: Any = (), error: TritonError | None = None, parameters: Any = None) -> None:
        super().__init__(output_tensors, error)
        self.parameters = parameters or {}


def backend_utils(response: type = Response) -> SimpleNamespace:
    """The module as `model.py` sees it; `.logged` has what was logged."""
    logged: list[str] = []
    return SimpleNamespace(
        Tensor=Tensor,
        TritonError=TritonError,
        TritonModelException=TritonModelException,
        InferenceResponse=response,
        Logger=SimpleNamespace(log_info=logged.append, log_warn=logged.append),
        get_input_tensor_by_name=lambda request, name: request.tensors[name],
        logged=logged,
    )


class Request:
    def __init__(self, parameters: str, **tensors: Any) -> None:
        self.tensors = {name: Tensor(name, array) for name, array in tensors.items()}
        self._parameters = parameters

    def parameters(self) -> str:
        return self._parameters


class Triton:
    """A real `tritonserver` with its Python backend, which loads models when it is asked to."""

    def __init__(self, repository: Path, folder: Path) -> None:
        home = next(ENVIRONMENT.glob("lib/python3.*/site-packages/pytriton/tritonserver"), None)
        if home is None:
            pytest.skip(f"no Triton in {ENVIRONMENT.name}: run make test-serve")
        version = home.parents[2].name.removeprefix("python")
        stub = home / "backends" / "python" / "triton_python_backend_stub"
        if not stub.exists():  # the wheel has one for each Python, and Triton looks for it next to its backend
            shutil.copy(home / "python_backend_stubs" / version / stub.name, stub)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._log = folder / "triton.log"
        environment = {
            "PATH": f"{ENVIRONMENT / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "XDG_CACHE_HOME": str(folder / "cache"),
            "OMP_NUM_THREADS": "1",
        }
        options = {
            "model-repository": repository,
            "backend-directory": home / "backends",
            "model-control-mode": "explicit",
            "http-address": "127.0.0.1",
            "http-port": self.port,
            "allow-grpc": "false",
            "allow-metrics": "false",
            "exit-timeout-secs": 5,
            "backend-config": f"python,shm-region-prefix-name=harmonyrt{os.getpid()}",
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [home / "bin" / "tritonserver", *(f"--{name}={value}" for name, value in options.items())],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait_until_it_listens()

    def _wait_until_it_listens(self) -> None:
        end = time.monotonic() + 180
        while time.monotonic() < end and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        self.stop()
        raise AssertionError(f"Triton did not start:\n{self.log()[-3000:]}")

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def logs(self, sentence: str, seconds: float = 30) -> bool:
        """Whether the log has a sentence, waited for: a model's messages reach it from a thread, after the answer."""
        end = time.monotonic() + seconds
        while sentence not in self.log():
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def stop(self) -> int:
        """End it; its exit code."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
