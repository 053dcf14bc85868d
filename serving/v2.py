"""`/v2`: the open inference protocol, for the clients of Triton, KServe and their like.

Every bundle is two models: `NAME` takes pictures of any size and harmonizes them; `NAME-engine` takes the engine's own
tensors (bundles of one network).
"""

# no `from __future__ import annotations`: FastAPI reads the annotations of routes, whose names live in functions

import asyncio
import dataclasses
import functools
import importlib.metadata
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.caller import heard
from harmonyrt.serving.answers import sentence_headers, timing_header
from harmonyrt.serving.bodies import check_length, read_whole
from harmonyrt.serving.models import Model
from harmonyrt.serving.parameters import check_known, read_parameters
from harmonyrt.serving.problems import Problem
from harmonyrt.serving.service import Service, until_left
from harmonyrt.serving.tensors import Inference, Spec, read_inference, write_inference
from harmonyrt.serving.work import Run, said

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

VERSION = "1"
ENGINE = "-engine"
_PICTURES = (Spec("composite", "UINT8", (-1, -1, 3)), Spec("mask", "UINT8", (-1, -1)))
_HARMONIZED = (Spec("harmonized", "UINT8", (-1, -1, 3)),)
_PROTOCOL_PARAMETERS = ("sequence_id", "sequence_start", "sequence_end", "priority", "timeout")  # nothing to do here
_DATATYPES = {"float32": "FP32", "float16": "FP16", "int64": "INT64"}


@dataclass(frozen=True)
class Face:
    """A model as the protocol sees it."""

    name: str
    model: Model
    inputs: tuple[Spec, ...]
    outputs: tuple[Spec, ...]

    @property
    def is_engine(self) -> bool:
        """Whether it takes the engine's own tensors."""
        return self.inputs is not _PICTURES

    def described(self) -> dict[str, Any]:
        """Metadata of the model."""
        return {
            "name": self.name,
            "versions": [VERSION],
            "platform": f"harmonyrt_{self.model.manifest.model.family}",
            "inputs": [spec.described() for spec in self.inputs],
            "outputs": [spec.described() for spec in self.outputs],
        }


def faces(model: Model) -> list[Face]:
    """The models that one bundle is."""
    found = [Face(model.name, model, _PICTURES, _HARMONIZED)]
    if not model.is_diffusion:
        engine = model.manifest
        found.append(Face(model.name + ENGINE, model, _specs(engine.inputs), _specs(engine.outputs)))
    return found


def _specs(tensors: Any) -> tuple[Spec, ...]:
    return tuple(
        Spec(t.name, _DATATYPES[t.dtype], tuple(side if isinstance(side, int) else -1 for side in t.shape))
        for t in tensors
    )


def add_routes(app: "FastAPI", service: Service) -> None:
    """Add the protocol's routes."""
    from fastapi import Request
    from fastapi.responses import JSONResponse, Response

    known = {face.name: face for model in service.models.by_name.values() for face in faces(model)}

    def found(request: Request) -> Face:
        service.check(request)
        name, version = request.path_params["name"], request.path_params.get("version", VERSION)
        if name not in known:
            raise Problem(404, f"there is no model {name[:80]!r}; give one of {', '.join(known)}")
        if version != VERSION:
            raise Problem(404, f"the model {name} has no version {version[:40]!r}; its version is {VERSION}")
        return known[name]

    @app.get("/v2", tags=["v2"], summary="The server")
    async def server(request: Request) -> dict[str, Any]:
        service.check(request)
        version = importlib.metadata.version("harmonyrt")
        return {"name": "harmonyrt", "version": version, "extensions": ["binary_tensor_data"]}

    @app.get("/v2/health/live", tags=["v2"], summary="200 while the process answers")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/v2/health/ready", tags=["v2"], summary="200 while requests are taken")
    async def ready() -> JSONResponse:
        return JSONResponse({"ready": not service.room.draining}, 503 if service.room.draining else 200)

    @app.post("/v2/repository/index", tags=["v2"], summary="The models")
    async def index(request: Request) -> list[dict[str, str]]:
        service.check(request)
        return [{"name": name, "version": VERSION, "state": "READY"} for name in known]

    for prefix in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        shown = prefix.count("version") == 0

        @app.get(prefix, tags=["v2"], summary="A model's tensors", include_in_schema=shown)
        async def metadata(request: Request) -> dict[str, Any]:
            return found(request).described()

        @app.get(f"{prefix}/ready", tags=["v2"], summary="Whether a model takes requests", include_in_schema=shown)
        async def model_ready(request: Request) -> JSONResponse:
            name = found(request).name
            ready = not service.room.draining
            return JSONResponse({"name": name, "ready": ready}, 200 if ready else 503)

        @app.post(f"{prefix}/infer", tags=["v2"], summary="Run a model", include_in_schema=shown)
        async def infer(request: Request) -> Response:
            return await _infer(service, found(request), request)


async def _infer(service: Service, face: Face, request: "Request") -> Any:
    from fastapi.responses import Response

    came, deadline = time.perf_counter(), service.deadline()
    service.room.check_open()
    with service.body() as body:
        check_length(request.headers, body.uploads.limit)
        data = await read_whole(request.receive, body)
        run = Run()
        run.seconds["upload"] = time.perf_counter() - came
        request.state.stages = run.seconds
        asked = await asyncio.to_thread(read_inference, data, request.headers, face.inputs, face.outputs)
        megapixels = _megapixels(asked, face)
        limit = service.settings.max_megapixels
        if megapixels > limit:
            raise Problem(
                413,
                f"the tensors hold {megapixels:.3g} megapixels, more than the limit of {limit:g}; send smaller ones, or"
                " raise the limit with --max-megapixels",
            )
        work = functools.partial(_run_engine if face.is_engine else _run_pictures, face, asked)
        answer, length, sentences = await service.room.do(
            face.name, megapixels, work, deadline=deadline, left=functools.partial(until_left, request.receive), run=run
        )
    response = Response(answer, media_type="application/json" if length is None else "application/octet-stream")
    response.raw_headers += [*sentence_headers(sentences), timing_header(run.seconds, time.perf_counter() - came)]
    if length is not None:
        response.raw_headers.append((b"inference-header-content-length", str(length).encode()))
    return response


def _megapixels(asked: Inference, face: Face) -> float:
    shape = asked.tensors[face.inputs[0].name].shape
    sides = (shape[0], *shape[2:]) if face.is_engine else shape[:2]
    return float(np.prod(sides, dtype=np.float64)) / 1e6


_InferenceResult = tuple[bytes, int | None, list[str]]


def _run_pictures(face: Face, asked: Inference, run: Run) -> _InferenceResult:
    options = _options(face.model, asked, run)
    with heard() as sentences, run.stage("engine"):
        result = face.model.run("harmonize", asked.tensors["composite"], asked.tensors["mask"], **options)
    timings = face.model.harmonizer.timings
    run.seconds |= {"fit": timings.fit, "engine": timings.engine, "upsample": timings.carry_back}
    with run.stage("encode"):
        answer, length = write_inference(face.name, VERSION, asked, {"harmonized": result}, face.outputs)
    return answer, length, [*said(sentences), *face.model.notes]


def _run_engine(face: Face, asked: Inference, run: Run) -> _InferenceResult:
    try:
        check_known(_parameters(asked), ())
    except HarmonyError as error:
        raise Problem(400, str(error)) from None
    with run.stage("engine"):
        result = face.model.run("run_tensor", *(asked.tensors[spec.name] for spec in face.inputs))
    with run.stage("encode"):
        answer, length = write_inference(face.name, VERSION, asked, {face.outputs[0].name: result}, face.outputs)
    return answer, length, list(face.model.notes)


def _parameters(asked: Inference) -> dict[str, Any]:
    """Those that are not the protocol's own."""
    return {name: value for name, value in asked.parameters.items() if name not in _PROTOCOL_PARAMETERS}


def _options(model: Model, asked: Inference, run: Run) -> dict[str, Any]:
    try:
        options = read_parameters(_parameters(asked), model.is_diffusion)
    except HarmonyError as error:
        raise Problem(400, str(error)) from None
    if model.is_diffusion:
        from harmonyrt.runtime.diffusion import RunOptions

        options["options"] = dataclasses.replace(options.get("options", RunOptions()), progress=run.show)
    return options
