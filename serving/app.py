"""The ASGI application: every route of a server, around one :class:`harmonyrt.serving.service.Service`."""

# no `from __future__ import annotations`: FastAPI reads the annotations of routes, whose names live in functions

import contextlib
import importlib.metadata
import mimetypes
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harmonyrt.serving import documents, v1, v2
from harmonyrt.serving.frame import Frame
from harmonyrt.serving.problems import Problem
from harmonyrt.serving.service import Service

if TYPE_CHECKING:
    from fastapi import FastAPI

PAGE = Path(__file__).parent / "page"
"""Files that are served at `/`."""


def create_app(service: Service) -> "FastAPI":
    """The application of a service, which is closed with it.

    >>> app = create_app(Service.open(Settings((Path("engines/phnet-256-fp32"),))))      # doctest: +SKIP
    """
    from fastapi import FastAPI, Request
    from starlette.exceptions import HTTPException

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await service.close()

    app = FastAPI(
        title="HarmonyRT",
        version=importlib.metadata.version("harmonyrt"),
        description="Image harmonization: a composite's foreground in line with its background.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(Frame, service=service)

    @app.exception_handler(HTTPException)  # Starlette's own, which would answer in a form of its own
    async def failed(request: Request, error: HTTPException) -> Any:
        raise _problem(error)

    v1.add_routes(app, service)
    v2.add_routes(app, service)
    _add_watching(app, service)
    _add_page(app)
    return app


def _add_page(app: "FastAPI") -> None:
    from fastapi import Response
    from fastapi.staticfiles import StaticFiles

    class Page(StaticFiles):
        def file_response(self, *arguments: Any, **options: Any) -> Response:
            response = super().file_response(*arguments, **options)
            response.headers["Cache-Control"] = "no-cache"  # asked for again each time: no module of an older version
            return response

    # Systems without a list of types have none for WebP, and browsers show no picture that comes as text.
    mimetypes.add_type("image/webp", ".webp")
    app.mount("/", Page(directory=PAGE, html=True), name="page")


def _problem(error: Any) -> Problem:
    what = {404: "there is nothing at this address", 405: "this address does not take this method"}
    sentence = f"{what.get(error.status_code, error.detail)}; /docs lists what there is"
    return Problem(error.status_code, sentence, dict(error.headers or {}))


def _add_watching(app: "FastAPI", service: Service) -> None:
    from fastapi import Request, Response
    from fastapi.responses import HTMLResponse

    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz", tags=["watching"], summary="200 while the process answers")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.head("/readyz", include_in_schema=False)
    @app.get("/readyz", tags=["watching"], summary="200 while requests are taken, 503 when the server stops")
    async def readyz() -> dict[str, str]:
        if service.room.draining:
            raise Problem(503, "the server is stopping; ask another one")
        return {"status": "ready"}

    @app.get("/metrics", tags=["watching"], summary="Counters for Prometheus")
    async def metrics(request: Request) -> Response:
        service.check(request)
        text, media_type = service.metrics.text()
        return Response(text, media_type=media_type)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(documents.page(app.openapi()))

    @app.get("/docs.css", include_in_schema=False)
    async def style() -> Response:
        return Response(documents.STYLE, media_type="text/css")
