"""`/v1`: harmonization for browsers and curl."""

# no `from __future__ import annotations`: FastAPI reads the annotations of routes, whose names live in functions

import asyncio
import base64
import contextlib
import functools
import json
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from harmonyrt.serving import documents
from harmonyrt.serving.answers import sentence_headers, timing_header
from harmonyrt.serving.bodies import read_form
from harmonyrt.serving.problems import ClientLeft, as_problem
from harmonyrt.serving.requests import FIELDS, HarmonizeRequest, read_harmonize_request
from harmonyrt.serving.service import Service, until_left
from harmonyrt.serving.work import Answer, Run, harmonize, weigh

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

_KNOWN = frozenset(FIELDS)
_STREAM = "text/event-stream"
_JPEG = b"\xff\xd8\xff"
_ALIVE = 10.0  # seconds between two signs of life


def add_routes(app: "FastAPI", service: Service) -> None:
    """Add `/v1/harmonize` and `/v1/models`."""
    from fastapi import Request, Response

    @app.get("/v1/models", tags=["v1"], summary="The models, the default one first")
    async def models(request: Request) -> dict[str, Any]:
        service.check(request)
        return {"models": [described(model) for model in service.models.by_name.values()]}

    @app.post("/v1/harmonize", tags=["v1"], summary="Harmonize a composite", **documents.HARMONIZE)
    async def harmonize_route(request: Request) -> Response:
        return await _harmonize(service, request)


def described(model: Any) -> dict[str, Any]:
    """What `/v1/models` says of a model."""
    info = model.harmonizer.info
    found: dict[str, Any] = {
        "name": model.name,
        "family": info.model,
        "precision": info.precision,
        "backend": info.backend,
        "device": info.device,
        "sessions": info.sessions,
        "size": list(info.size) if info.size else None,
        "size_multiple": info.size_multiple,
        "parameters": info.parameters,
        "notes": list(model.notes),
    }
    if model.is_diffusion:
        from harmonyrt.runtime.diffusion.schedule import SamplingSchedule

        found["fields"] = ["seed", "sample", "steps"]
        found["steps"] = SamplingSchedule.of(model.manifest).program(None).steps
    return found


async def _harmonize(service: Service, request: "Request") -> Any:
    from fastapi.responses import Response

    came, deadline = time.perf_counter(), service.deadline()
    service.check(request)
    service.room.check_open()
    with contextlib.ExitStack() as memory:
        body = memory.enter_context(service.body())
        form = await read_form(request.receive, request.headers, _KNOWN, body)
        run = Run()
        run.seconds["upload"] = time.perf_counter() - came
        request.state.stages = run.seconds
        asked = read_harmonize_request(form)
        model = service.models.named(form.text("model"))
        megapixels = await _weighed(asked, service.settings.max_megapixels)
        work = functools.partial(harmonize, model, asked, service.settings.max_megapixels)
        do = functools.partial(service.room.do, model.name, megapixels, work, deadline=deadline, run=run)
        if _STREAM in request.headers.get("accept", ""):
            service.room.check_open()  # while a refusal can still be a status
            return _streamed(do, run, memory.pop_all())
        answer = await do(left=functools.partial(until_left, request.receive))
    headers = [
        *sentence_headers(answer.sentences),
        timing_header(run.seconds, time.perf_counter() - came),
        (b"cache-control", b"no-store"),
    ]
    response = Response(answer.body, media_type=answer.media_type)
    response.raw_headers += headers
    return response


async def _weighed(asked: HarmonizeRequest, limit: float) -> float:
    """Megapixels of a request; in a thread where a header can take long: packed texts, frames, directories."""
    if all(data.startswith(_JPEG) for data in asked.pictures.values()):
        return weigh(asked, limit)
    return await asyncio.to_thread(weigh, asked, limit)


def _streamed(do: Any, run: Run, memory: contextlib.ExitStack) -> Any:
    """Progress as server-sent events, then `result` with the picture, or `problem`; `memory` is given back then."""
    from fastapi.responses import StreamingResponse

    loop = asyncio.get_running_loop()
    events: asyncio.Queue[bytes | None] = asyncio.Queue()

    def put(event: bytes | None) -> None:
        loop.call_soon_threadsafe(events.put_nowait, event)

    def show(stage: str, done: int, total: int) -> None:
        put(_event("progress", {"stage": stage, "done": done, "total": total}))

    async def work() -> None:
        try:
            put(_event("result", _as_json(await do(), run)))
        except ClientLeft:
            pass
        except Exception as error:
            put(b"event: problem\ndata: " + as_problem(error).body() + b"\n\n")
        finally:
            put(None)

    async def stream() -> AsyncIterator[bytes]:
        task = asyncio.ensure_future(work())
        with memory, contextlib.ExitStack() as ending:
            ending.callback(task.cancel)
            while True:
                try:
                    event = await asyncio.wait_for(events.get(), _ALIVE)
                except (TimeoutError, asyncio.TimeoutError):
                    yield b": working\n\n"
                    continue
                if event is None:
                    return
                yield event

    run.progress = show
    return StreamingResponse(stream(), media_type=_STREAM, headers={"Cache-Control": "no-store"})


def _as_json(answer: Answer, run: Run) -> dict[str, Any]:
    return {
        "media_type": answer.media_type,
        "data": base64.b64encode(answer.body).decode("ascii"),
        "sentences": list(answer.sentences),
        "milliseconds": {name: round(value * 1000, 1) for name, value in run.seconds.items()},
    }


def _event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=True)}\n\n".encode()
